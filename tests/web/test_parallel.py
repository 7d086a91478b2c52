"""Parallel coordinates and their limits in a real browser."""

import random

from playwright.sync_api import Page, expect

from tests.web.sections import Service, dashboard, show


def test_limits_let_through_what_is_within_them(page: Page, service: Service) -> None:
    dimensions = [
        {"name": "lr", "kind": "number", "choices": None, "log": True},
        {"name": "op", "kind": "category", "choices": ["conv", "pool", "skip"], "log": False},
    ]
    chance = random.Random(1)
    rates = [10 ** chance.uniform(-4, 0) for _ in range(60)]
    ops = [chance.choice(["conv", "pool", "skip"]) for _ in range(60)]
    scores = [chance.random() for _ in range(60)]
    items = [{"trial": n, "score": scores[n], "values": [rates[n], ops[n]]} for n in range(60)]
    service.answers["/v1/jobs/j1/parallel"] = {
        "metric": "accuracy",
        "total": 60,
        "dimensions": dimensions,
        "items": items,
    }
    show(page, "parallel", dashboard(counts={"complete": 60}))
    count = page.locator(".panel-body > [role=status]")
    expect(count).to_contain_text("60 trials.")
    page.get_by_text("Limits by numbers").click()
    page.get_by_label("lr, at most").fill("0.01")
    page.get_by_label("op", exact=True).select_option("pool")
    few = [n for n in range(60) if rates[n] <= 0.01 and ops[n] == "pool"]
    expect(count).to_have_text(f"{len(few)} of 60 trials are let through by 2 limits.")
    page.get_by_label("Score, at least").fill("0.5")
    expect(count).to_contain_text(f"{sum(scores[n] >= 0.5 for n in few)} of 60")
    page.get_by_role("button", name="Let all through").click()
    expect(count).to_contain_text("60 trials.")
    handle = page.locator(".handle").last.bounding_box()  # of the score: its upper half
    assert handle
    page.mouse.move(handle["x"] + 16, handle["y"])
    page.mouse.down()
    page.mouse.move(handle["x"] + 16, handle["y"] + handle["height"] / 2, steps=4)
    page.mouse.up()
    middle = (min(scores) + max(scores)) / 2
    expect(count).to_have_text(f"{sum(score >= middle for score in scores)} of 60 trials are let through by one limit.")
