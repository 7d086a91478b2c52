"""Learning curves in a real browser: what is drawn, and which line the pointer means."""

import random
from itertools import pairwise

from playwright.sync_api import Page, expect

from tests.web.sections import Service, dashboard, show


def test_the_closest_line_is_found_wherever_its_points_are(page: Page) -> None:
    chance = random.Random(0)
    lines = [sorted([chance.uniform(0, 400), chance.uniform(0, 300)] for _ in range(4)) for _ in range(6)]
    places = [(chance.uniform(0, 400), chance.uniform(0, 300)) for _ in range(200)]
    found = page.evaluate(
        """async ([lines, places]) => {
          const { closest } = await import("/js/charts/near.js");
          return places.map(([x, y]) => closest(lines, x, y, 25));
        }""",
        [lines, places],
    )

    def passes(line: list[list[float]], x: float, y: float) -> float:
        """How far the line is from the place, where the line runs above or below it; else infinitely."""
        for (x1, y1), (x2, y2) in pairwise(line):
            if x1 < x <= x2:
                area = abs((x2 - x1) * (y1 - y) - (x1 - x) * (y2 - y1))
                return float(area / ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5)
        return float("inf")

    inner = [place for place in range(200) if all(line[0][0] < places[place][0] <= line[-1][0] for line in lines)]
    assert len(inner) > 20
    for place in inner:
        away = [passes(line, *places[place]) for line in lines]
        assert found[place] == (away.index(min(away)) if min(away) <= 25 else -1)


def test_the_best_curve_stands_out_and_pruned_ones_are_dimmed(page: Page, service: Service) -> None:
    items = [
        {"trial": n, "phase": "search", "state": state, "points": [[1, score], [2, score]]}
        for n, state, score in ((1, "complete", 0.9), (2, "pruned", 0.5), (3, "complete", 0.1))
    ]
    service.answers["/v1/jobs/j1/curves"] = {"metric": "accuracy", "total": 9, "shown": 3, "items": items}
    best = {"trial": 1, "accuracy": 0.9, "params": 1, "macs": 1, "genotype": None, "candidate": None}
    show(page, "curves", dashboard(best=best, counts={"complete": 2, "pruned": 1}))
    expect(page.get_by_text("3 of 9 trials")).to_be_visible()
    page.wait_for_timeout(100)
    heavy = page.evaluate(
        """() => { // how much colour each third of the canvas has: the lines lie one below the other
          const canvas = document.querySelector("canvas"), { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          const thirds = [0, 0, 0];
          for (let at = 3; at < data.length; at += 4) thirds[Math.floor((3 * (at >> 2)) / width / height)] += data[at];
          return thirds;
        }"""
    )
    assert heavy[0] > 2 * heavy[2] > 2 * 2 * heavy[1] > 0
