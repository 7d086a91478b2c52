"""Images of one's own are sent by the pages, in a real browser."""

import re
from pathlib import Path

import numpy as np
from playwright.sync_api import expect

from tests.web.site import Site


def test_images_can_be_added_from_the_form(site: Site, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", images=rng.integers(0, 255, (60, 8, 8), dtype=np.uint8), labels=np.arange(60) % 3)
    site.new()
    site.page.get_by_text("Upload images of your own").click()
    site.page.locator("input[type=file]").set_input_files(tmp_path / "own.npz")
    expect(site.page.get_by_label("Call it")).to_have_value("own")
    site.watch.expect("status of 422.*/v1/datasets")
    call = site.page.get_by_label("Call it")
    call.fill("digits")
    site.page.get_by_role("button", name="Upload", exact=True).click()
    expect(call).to_be_focused()
    expect(call).to_have_accessible_description(re.compile("a built-in data set has that name"))
    site.page.get_by_label("Call it").fill("of my own")
    site.page.get_by_role("button", name="Upload", exact=True).click()
    expect(site.page.get_by_label("Data set")).to_have_value("of my own")
    assert site.spec() == {"dataset": "of my own"}
    assert site.api.get("/v1/datasets/of my own").json()["images"] == 60


def test_a_file_that_holds_no_images_is_told_and_its_name_goes_with_it(site: Site, tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK and nothing else")
    (tmp_path / "other.npz").write_bytes(b"neither")
    site.watch.expect("status of 422.*/v1/datasets")
    site.page.goto(f"{site.url}/datasets")
    for name, told in (("broken.zip", "damaged"), ("other.npz", "of no known kind, or damaged")):
        site.page.locator("input[type=file]").set_input_files(tmp_path / name)
        expect(site.page.get_by_label("Call it")).to_have_value(name.partition(".")[0])
        site.page.get_by_role("button", name="Upload", exact=True).click()
        expect(site.page.locator(".upload [role=alert]")).to_contain_text(told)


def test_numbers_that_are_none_are_told_before_a_file_is_sent(site: Site, tmp_path: Path) -> None:
    (tmp_path / "some.npz").write_bytes(b"never sent")
    site.page.goto(f"{site.url}/datasets")
    site.page.locator("input[type=file]").set_input_files(tmp_path / "some.npz")
    size = site.page.get_by_label("Image size")
    for typed, told in (
        ("7", "8 or more"),
        ("99999", "512 or less"),
        ("8.5", "a whole number"),
        ("e-", "a whole number"),
    ):
        size.fill("")
        size.press_sequentially(typed)
        site.page.get_by_role("button", name="Upload", exact=True).click()
        expect(size).to_be_focused()
        expect(size).to_have_accessible_description(re.compile(f"it has to be {told}"))
    size.fill("")
    site.page.get_by_label("Call it").fill(" ")
    site.page.get_by_role("button", name="Upload", exact=True).click()
    expect(site.page.get_by_label("Call it")).to_have_attribute("aria-invalid", "true")
    expect(size).not_to_have_attribute("aria-invalid", "true")
