"""Cells and chains as the pages draw them, read back from a real browser and held against the Python side."""

import json
import re
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from api.web.pages import STATIC
from nas.result import cells, layers
from nas.space import CellSpace, Genotype, Shape, known
from nas.space.cost import Cost, Place, operation, positions, strided
from nas.space.genotype import INPUTS
from nas.space.operations import OPERATIONS

IMAGE = (3, 32, 28)
READ = """
async (text) => {
  const [file, name, given] = JSON.parse(text);
  const module = await import(`/js/${file}.js`);
  const element = module[name](...given);
  document.querySelector("main").replaceChildren(element);
  for (let frame = 0; frame < 4; frame += 1) await new Promise(requestAnimationFrame); // it is measured, then drawn
}
"""


def drawn(seed: int, nodes: int = 4) -> Genotype:
    found = CellSpace(ops=tuple(OPERATIONS), nodes=nodes).sample(np.random.default_rng(seed)).architecture
    assert isinstance(found, Genotype)
    return found


def candidate(genotype: Genotype, **shape: Any) -> dict[str, Any]:
    return {"genotype": genotype.to_json(), "shape": Shape(**shape).model_dump()}


def show(page: Page, name: str, *given: Any, file: str = "cells", width: int = 1400) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(READ, json.dumps([file, name, given]))


Box = tuple[float, float, float, float]


def boxes(page: Page, cell: int, selector: str) -> list[Box]:
    """Where things lie on the screen: left, top, right, bottom."""
    script = """([cell, selector]) => [...document.querySelectorAll(".cell svg")[cell].querySelectorAll(selector)]
        .map((one) => one.getBoundingClientRect()).map((box) => [box.left, box.top, box.right, box.bottom])"""
    return [tuple(box) for box in page.evaluate(script, [cell, selector])]


def overlap(a: Box, b: Box) -> bool:
    slack = 0.5
    return a[0] + slack < b[2] and b[0] + slack < a[2] and a[1] + slack < b[3] and b[1] + slack < a[3]


def edges(genotype: Genotype, *, reduce: bool) -> Counter[tuple[str, int, int]]:
    cell = genotype.reduce if reduce else genotype.normal
    return Counter((edge.op, edge.source, index) for index, found in enumerate(cell.nodes, INPUTS) for edge in found)


def test_operations_have_the_colours_of_the_reports_and_dark_ones_that_are_readable() -> None:
    sheet = (STATIC / "css" / "cells.css").read_text(encoding="utf-8")
    rules = re.findall(r"^(\[data-op=.*?) \{ --op: light-dark\((#\w{6}), (#\w{6})\); \}", sheet, re.MULTILINE)
    found = {name: pair for names, *pair in rules for name in re.findall(r'data-op="(\w+)"', names)}
    assert {name: light for name, (light, _) in found.items()} == cells.COLOURS | layers.COLOURS
    tokens = (STATIC / "css" / "tokens.css").read_text(encoding="utf-8")
    [dark_ground] = set(re.findall(r"--surface: (#\w{6})", tokens)) - {"#ffffff"}
    assert all(contrast(dark, dark_ground) > 4.5 for _, dark in found.values())
    ops = [found[op][1] for op in cells.COLOURS]
    assert len(set(ops)) == len(ops)


def contrast(a: str, b: str) -> float:
    low, high = sorted(map(luminance, (a, b)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    values = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values)
    return sum(share * value for share, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


GENOTYPES = [known(name) for name in ("DARTS_V1", "NASNet", "AmoebaNet", "PC_DARTS_image")] + [
    drawn(seed, nodes) for seed, nodes in ((1, 4), (3, 7), (4, 12))
]


@pytest.mark.parametrize("width", [340, 700, 1400, 2500])
def test_labels_meet_neither_one_another_nor_a_node_and_nothing_lies_outside(page: Page, width: int) -> None:
    for genotype in GENOTYPES:
        show(page, "architecture", candidate(genotype), width=width)
        for cell in (0, 1):
            labels, nodes = boxes(page, cell, ".edge text"), boxes(page, cell, ".node rect")
            assert len(labels) == sum(edges(genotype, reduce=bool(cell)).values())
            assert not [pair for pair in combinations([*labels, *nodes], 2) if overlap(*pair)]
            [(left, top, right, bottom)] = page.evaluate(
                """(cell) => [document.querySelectorAll(".cell svg")[cell].getBoundingClientRect()]
                    .map((box) => [box.left, box.top, box.right, box.bottom])""",
                cell,
            )
            inside = [*labels, *nodes, *boxes(page, cell, "polygon")]
            assert all(left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom for box in inside)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_table_lists_every_edge_with_what_it_costs_in_the_whole_network(page: Page) -> None:
    shapes: list[dict[str, Any]] = [
        {},
        {"channels": 12, "cells": 7, "norm": "none", "downsample": "conv"},
        {"channels": 6, "cells": 5, "tail": 2, "norm": "batch_fixed", "downsample": "max_pool"},
        {"channels": 7, "cells": 8, "tail": -2, "stem": "imagenet", "norm": "group"},
    ]
    for seed, shape in enumerate(shapes):
        genotype = drawn(seed, 6)
        show(page, "architecture", candidate(genotype, **shape), {"image": list(IMAGE)})
        page.locator("summary", has_text="table").click()
        page.locator("tbody tr").first.wait_for()
        rows = page.evaluate(
            "[...document.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((one) => one.innerText))"
        )
        found = Counter(tuple(row[1:]) for row in rows if row[3] != "concatenated")
        expected = Counter(
            (name(source), name(target), op, f"{cost.params:,}", f"{cost.macs:,}")
            for reduce in (False, True)
            for (op, source, target), many in edges(genotype, reduce=reduce).items()
            for cost in [in_network(op, source, Shape(**shape), reduce=reduce)] * many
        )
        assert found == expected


def name(node: int) -> str:
    return {0: "c k−2", 1: "c k−1"}.get(node, str(node))


def in_network(op: str, source: int, shape: Shape, *, reduce: bool) -> Cost:
    total = Cost(0, 0)
    for reduction, channels, size in positions(shape, IMAGE):
        if reduction == reduce:
            halved = reduction and source < INPUTS
            at = size if halved or not reduction else strided(size, 2)
            total += operation(op, Place(channels, 2 if halved else 1, at, shape.norm, shape.downsample))
    return total


def test_new_and_dropped_edges_are_those_that_only_one_of_both_has(page: Page) -> None:
    before, now = drawn(5), drawn(6)
    show(page, "architecture", candidate(now), {"before": candidate(before)})
    for cell, reduce in enumerate((False, True)):
        new = edges(now, reduce=reduce) - edges(before, reduce=reduce)
        gone = edges(before, reduce=reduce) - edges(now, reduce=reduce)
        assert len(boxes(page, cell, ".edge.new text")) == new.total()
        assert len(boxes(page, cell, ".edge.gone text")) == gone.total()
    show(page, "architecture", candidate(now), {"before": candidate(now)})
    assert page.locator(".cell .edge:is(.new, .gone)").count() == 0


def test_arrow_keys_go_through_all_edges_and_say_which(page: Page) -> None:
    genotype = known("DARTS_V2")
    show(page, "architecture", candidate(genotype), {"image": list(IMAGE)})
    page.locator(".cell-scroll").first.focus()
    said = set()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
        said.add(page.locator(".cell [role=status]").first.inner_text())
        assert page.locator(".cell").first.locator(".edge.chosen").count() == 1
    assert len(said) == 12  # eight operations, four connections to the output
    assert any("sep_conv_3x3: c k−2 → node 2" in text and "MACs" in text for text in said)
    assert page.locator(".cell .tip").first.is_visible()
    page.keyboard.press("Escape")
    assert page.locator(".cell .edge.chosen").count() == 0
    assert page.locator(".cell .tip").first.is_hidden()


def test_an_edge_lights_up_the_ways_through_it(page: Page) -> None:
    inside = [[["skip_connect", 0], ["conv_3x3", 1]], [["conv_1x1", 2], ["none", 1]]]
    cell = {"nodes": inside, "concat": [3]}
    show(page, "architecture", {"genotype": {"normal": cell, "reduce": cell}, "shape": Shape().model_dump()})
    first = page.locator(".cell").first
    for chosen, others in (("skip_connect", ["conv_3x3", "none"]), ("conv_1x1", ["none"])):
        first.locator(f'[data-op="{chosen}"] text').hover()
        dim = first.locator(".edge.dim").evaluate_all("(all) => all.map((one) => one.dataset.op)")
        assert sorted(dim) == others


def test_an_operation_of_a_plugin_is_drawn_and_its_name_stays_text(page: Page) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    cell = {"nodes": [[[hostile, 0], ["conv_3x3", 1]]], "concat": [2]}
    show(page, "architecture", {"genotype": {"normal": cell, "reduce": cell}, "shape": Shape().model_dump()})
    assert page.locator("main img").count() == 0
    assert hostile in page.locator(".op-legend").inner_text()
    page.locator(".cell").first.locator('[data-op="own"] text').hover()
    assert "not known" in page.locator(".cell .tip").first.inner_text()


def test_layers_side_by_side_stand_in_one_row_with_their_scale(page: Page) -> None:
    net = [["conv", 8, 3, False], ["separable", 16, 5, True], ["max_pool", 32, 3, False], ["conv_down", 64, 3, False]]
    show(page, "architecture", {"layers": net, "shape": Shape().model_dump()}, {"before": {"layers": net[:3]}})
    rows = page.locator(".chain-row").all_inner_texts()
    assert [row.split("\n")[-1] for row in rows] == [
        "image",
        "full size, 24 channels together",
        "1/2 of the side",
        "+ new, 1/4 of the side",
        "average pooling, classifier",
    ]
