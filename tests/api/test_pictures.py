"""Figures and reports over HTTP: what they are, when they change, and what they may never do."""

import io
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from PIL import Image
from sqlalchemy import update

from api.pictures import KEPT_BYTES, Asked, Pictures
from nas.result.figures import THEMES
from nas.store.states import JobState
from nas.store.tables import Job
from tests.api.client import ApiClient, fault, problem, succeed
from tests.result.test_figures import found, ground
from tests.support import run_trial

NAMES = ("curves", "pareto", "cells", "verdict", "incumbents")


def searched(api: ApiClient) -> str:
    job_id = api.add_job(budget={"trials": 6, "epochs": 3}, name="<b>mine</b>")
    for accuracy in (0.5, 0.7, 0.6):
        run_trial(api.store, accuracy)
    return job_id


def change(api: ApiClient, job_id: str, **values: Any) -> None:
    with api.store.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(version=Job.version + 1, **values))


def figure(api: ApiClient, job_id: str, name: str, **query: Any) -> httpx.Response:
    return api.get(f"/v1/jobs/{job_id}/figures/{name}", params=query)


def test_every_figure_comes_as_svg_and_as_png_of_the_asked_size_and_theme(api: ApiClient) -> None:
    job_id = searched(api)
    change(api, job_id, verdict=found())
    for name in NAMES:
        answer = figure(api, job_id, f"{name}.svg")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/svg+xml")
        root = ET.fromstring(answer.text)
        answer = figure(api, job_id, f"{name}.png", theme="dark", scale=1.5)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
        image = Image.open(io.BytesIO(answer.content)).convert("RGB")
        size = [float(root.attrib[side]) * 1.5 for side in ("width", "height")]
        assert image.size == pytest.approx(size, abs=1)
        assert ground(image) == THEMES["dark"].surface


def test_neither_figures_nor_reports_can_run_or_load_anything(api: ApiClient) -> None:
    job_id = searched(api)
    for path in ("figures/cells.svg", "figures/curves.svg", "report"):
        answer = api.get(f"/v1/jobs/{job_id}/{path}")
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("sandbox; default-src 'none'; style-src 'unsafe-inline'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "<b>mine" not in answer.text
        assert "<script" not in answer.text


def test_the_axes_of_a_pareto_figure_can_be_chosen(api: ApiClient) -> None:
    job_id = searched(api)
    texts = [each.text for each in ET.fromstring(figure(api, job_id, "pareto.svg", x="macs", y="params").text).iter()]
    assert {"multiply-accumulates", "parameters"} <= set(texts)
    fault(figure(api, job_id, "pareto.svg", x="colour"), "x", "accuracy, params")
    fault(figure(api, job_id, "pareto.svg", x="macs", y="macs"), "y", "another one")
    problem(figure(api, job_id, "pareto.png", x="latency_ms"), 409, "no trial with latency_ms and accuracy")


def test_what_is_not_there_yet_is_said_and_what_never_was_is_not_found(api: ApiClient) -> None:
    job_id = api.add_job()
    for name in NAMES:
        problem(figure(api, job_id, f"{name}.svg"), 409, "it is queued; ask again later")
    change(api, job_id, state=JobState.CANCELLED)
    problem(figure(api, job_id, "verdict.svg"), 409, "will have none: it is cancelled")
    assert api.get(f"/v1/jobs/{job_id}/report").status_code == 200
    problem(figure(api, "nobody", "curves.svg"), 404)
    problem(api.get("/v1/jobs/nobody/report"), 404)
    for wrong in ("colours.svg", "curves.gif"):
        assert figure(api, job_id, wrong).status_code == 422
    assert figure(api, job_id, "curves.svg", theme="pink").status_code == 422
    assert figure(api, job_id, "curves.png", scale=9).status_code == 422


def test_a_picture_is_drawn_anew_when_its_job_has_changed_and_only_then(api: ApiClient) -> None:
    job_id = searched(api)
    first = figure(api, job_id, "curves.svg")
    tag = {"If-None-Match": first.headers["ETag"]}
    again = api.get(f"/v1/jobs/{job_id}/figures/curves.svg", headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    assert figure(api, job_id, "curves.svg").content == first.content
    others = {figure(api, job_id, *each[:1], **each[1]).headers["ETag"] for each in OTHERS}
    assert len(others | {first.headers["ETag"]}) == 1 + len(OTHERS)
    run_trial(api.store, 0.9)
    after = api.get(f"/v1/jobs/{job_id}/figures/curves.svg", headers=tag)
    assert after.status_code == 200
    assert "trial 3" in after.text
    assert "trial 3" not in first.text


OTHERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("curves.svg", {"theme": "dark"}),
    ("curves.png", {}),
    ("curves.png", {"scale": 1}),
    ("pareto.svg", {}),
    ("pareto.svg", {"x": "macs"}),
)


def test_the_report_of_a_job_that_succeeded_is_that_of_its_package(api: ApiClient) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        package.writestr("weights.safetensors", b"0" * 100_000)
        package.writestr("report.html", "<!doctype html>the very page")
    job_id = succeed(api, content.getvalue())
    answer = api.get(f"/v1/jobs/{job_id}/report")
    assert (answer.status_code, answer.text) == (200, "<!doctype html>the very page")
    assert answer.headers["Content-Type"].startswith("text/html")
    # It was taken up again: the package is of before.
    change(api, job_id, state=JobState.RUNNING)
    assert "the very page" not in api.get(f"/v1/jobs/{job_id}/report").text


def test_a_package_of_an_earlier_version_has_its_report_made_from_the_rows(api: ApiClient) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        package.writestr("model_card.md", "as it was")
    job_id = succeed(api, content.getvalue())
    page = api.get(f"/v1/jobs/{job_id}/report").text
    assert f"Job {job_id}" in page
    assert "search beat random by 1.0 ± 0.5 points" in page
    sha256 = api.artifacts.put(content.getvalue()).sha256
    api.artifacts.delete(sha256)
    change(api, job_id, note="looked at again")
    problem(api.get(f"/v1/jobs/{job_id}/report"), 503, "missing")


def test_other_owners_jobs_have_no_pictures(api: ApiClient) -> None:
    ada = api.of("ada")
    job_id = ada.add_job(budget={"trials": 6, "epochs": 3})
    run_trial(api.store, 0.5)
    assert figure(ada, job_id, "curves.svg").status_code == 200
    bob = api.of("bob")
    problem(figure(bob, job_id, "curves.svg"), 404)
    problem(bob.get(f"/v1/jobs/{job_id}/report"), 404)


def test_two_are_drawn_at_once_and_what_is_kept_is_bounded(api: ApiClient) -> None:
    job_id = searched(api)
    pictures = Pictures()
    busy: list[int] = []
    running = 0
    lock = threading.Lock()

    def make() -> bytes:
        nonlocal running
        with lock:
            running += 1
            busy.append(running)
        time.sleep(0.1)
        with lock:
            running -= 1
        return b"x" * (KEPT_BYTES // 4)

    def ask(index: int) -> int:
        asked = Asked(job_id, (index,), "image/png", {}, make)
        return api.portal.call(pictures.answer, api.store, asked, None).status_code

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == [200] * 6
    assert max(busy) == 2
    assert pictures.kept_bytes == KEPT_BYTES
    ask(5)
    assert len(busy) == 6  # it was kept
    ask(0)
    assert len(busy) == 7  # it was not
