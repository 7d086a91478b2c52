"""The figures: what the data say stands where the axes say, in SVG and in PNG, the same every time."""

import io
import itertools
import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from nas.result import figures
from nas.result.figures import THEMES, Curve, Curves, Drawing, Incumbents, Look, Point, Points
from nas.result.figures.pareto import unbeaten

SVG = "{http://www.w3.org/2000/svg}"


def learning(trial: int, state: str = "complete", epochs: int = 9) -> Curve:
    scores = np.random.default_rng(trial).uniform(0.2, 0.9, epochs)
    return Curve(trial, state, tuple((epoch, float(score)) for epoch, score in enumerate(sorted(scores), 1)))


def cloud(count: int = 60, low: float = 4.0, high: float = 6.0) -> Points:
    rng = np.random.default_rng(0)
    items = [
        Point(
            n, float(10 ** rng.uniform(low, high)), float(rng.uniform(0.4, 0.9)), "pruned" if n % 4 == 0 else "complete"
        )
        for n in range(count)
    ]
    return Points("params", "accuracy", tuple(items), 1_000, 1)


def interval(mean: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high} | more


def found(mean: float = 0.02, low: float = 0.005, high: float = 0.035) -> dict[str, Any]:
    networks = [
        {"n": 2, "trial": 11, "params": 1_100, "accuracies": [0.88, 0.90]},
        {"n": 2, "trial": 13, "params": 900, "accuracies": [0.90, 0.90]},
    ]
    return {
        "winner": interval(0.91, 0.89, 0.93, n=3, trial=7, params=1_000, accuracies=[0.90, 0.91, 0.92]),
        "controls": interval(0.895, 0.87, 0.91, n=4, networks=networks),
        "reference": interval(0.90, 0.88, 0.92, n=2, trial=17, params=1_050, accuracies=[0.89, 0.91]),
        "difference": interval(mean, low, high),
        "reference_difference": interval(0.01, -0.01, 0.03),
        "score": "accuracy",
        "test_images": 360,
        "text": "The search beat random.",
    }


def drawings(look: Look) -> dict[str, Drawing]:
    stopped = [learning(trial, "pruned", 3) for trial in range(5)]
    curves = Curves((*(learning(trial) for trial in range(10, 14)), *stopped, learning(20, "running", 1)), 40, 12)
    return {
        "curves": figures.curves(curves, look),
        "pareto": figures.pareto(cloud(), look),
        "incumbents": figures.incumbents(Incumbents(((0, 5.0, 0.6), (4, 61.0, 0.7), (9, 400.0, 0.8))), look),
        "verdict": figures.verdict(found(), look),
    }


def tree(drawing: Drawing) -> ET.Element:
    return ET.fromstring(drawing.svg)


def marked(root: ET.Element, name: str) -> ET.Element:
    [element] = [each for each in root.iter() if each.get("id") == name]
    return element


def pairs(numbers: list[float]) -> list[tuple[float, float]]:
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def fits(data: list[float], drawn: list[float]) -> float:
    """The slope of the one straight line that takes data to pixels; fails if there is none."""
    slope, offset = np.polyfit(data, drawn, 1)
    np.testing.assert_allclose(np.asarray(data) * slope + offset, drawn, atol=0.01)
    return float(slope)


# --- learning curves


def test_every_curve_is_a_line_whose_corners_are_its_epochs_and_scores() -> None:
    curves = tuple(learning(trial, "complete" if trial % 2 else "pruned", 3 + trial) for trial in range(8))
    root = tree(figures.curves(Curves(curves, 8, 3)))
    lines = [each for each in root.iter() if (each.get("id") or "").startswith("curves-trial-")]
    assert len(lines) == 8
    epochs, scores, across, down = [], [], [], []
    for curve in curves:
        at = pairs_of_line(marked(root, f"curves-trial-{curve.trial}"))
        assert len(at) == len(curve.points)
        epochs += [epoch for epoch, _ in curve.points]
        scores += [score for _, score in curve.points]
        across += [x for x, _ in at]
        down += [y for _, y in at]
    assert fits([float(epoch) for epoch in epochs], across) > 0
    assert fits(scores, down) < 0
    assert min(across) >= 74
    assert max(across) <= 640 - 20


def pairs_of_line(group: ET.Element) -> list[tuple[float, float]]:
    [path] = group.findall(f"{SVG}path")
    return pairs([float(number) for number in re.findall(r"-?\d+\.?\d*", path.attrib["d"])])


def test_the_best_curve_lies_above_all_others_and_stopped_ones_are_dim() -> None:
    curves = (learning(5), learning(1, "pruned", 3), learning(9), learning(2, "running", 4))
    root = tree(figures.curves(Curves(curves, 900, 5)))
    order = [each.attrib["id"] for each in root.iter() if (each.get("id") or "").startswith("curves-trial-")]
    assert order == ["curves-trial-1", "curves-trial-9", "curves-trial-2", "curves-trial-5"]
    styles = {name: marked(root, name).findall(f"{SVG}path")[0].attrib["style"] for name in order}
    assert THEMES["light"].bad in styles["curves-trial-5"]
    assert THEMES["light"].faint in styles["curves-trial-1"]
    assert "stroke-dasharray" in styles["curves-trial-2"]
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"best", "complete", "running", "stopped early", "trial 5"} <= set(words)
    assert "4 of 900 trials" in said(root)


def said(root: ET.Element) -> str:
    description = root.find(f"{SVG}desc")
    assert description is not None
    return description.text or ""


def test_a_trial_of_one_epoch_is_still_to_be_seen() -> None:
    root = tree(figures.curves(Curves((learning(3, epochs=1),), 1, 3)))
    assert list(marked(root, "curves-trial-3").iter(f"{SVG}use"))


def test_a_score_that_is_no_share_is_told_as_a_number() -> None:
    words = [text.text or "" for text in tree(figures.curves(Curves((learning(3),), 1, 3), Look(metric="r2"))).iter()]
    assert "R² on validation" in words
    assert not any("%" in word for word in words)


# --- the best so far


def test_the_best_so_far_is_a_staircase_over_time_in_a_unit_that_suits() -> None:
    items = ((0, 30.0, 0.5), (3, 300.0, 0.6), (7, 1200.0, 0.8))
    root = tree(figures.incumbents(Incumbents(items)))
    at = [
        (float(use.attrib["x"]), float(use.attrib["y"])) for use in marked(root, "incumbents-changes").iter(f"{SVG}use")
    ]
    assert fits([seconds for _, seconds, _ in items], [x for x, _ in at]) > 0
    assert fits([score for _, _, score in items], [y for _, y in at]) < 0
    assert len(pairs_of_line(marked(root, "incumbents-step"))) == 2 * len(items) - 1
    assert "minutes since the start" in [text.text for text in root.iter(f"{SVG}text")]


# --- size against score


def test_points_stand_on_a_logarithmic_axis_where_costs_differ_much_and_else_on_a_plain_one() -> None:
    for points, scale in ((cloud(), math.log10), (cloud(low=4.0, high=4.5), float)):
        root = tree(figures.pareto(points))
        for kind in ("complete", "pruned"):
            those = [point for point in points.items if point.state == kind]
            group = marked(root, f"pareto-{'stopped' if kind == 'pruned' else kind}")
            at = [(float(use.attrib["x"]), float(use.attrib["y"])) for use in group.iter(f"{SVG}use")]
            assert len(at) == len(those)
            assert fits([scale(point.x) for point in those], [x for x, _ in at]) > 0
            assert fits([point.y for point in those], [y for _, y in at]) < 0


def test_the_front_holds_whom_no_other_beats_in_both() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        items = [
            Point(n, float(rng.integers(1, 9)), float(rng.integers(1, 9)) / 10, "complete" if n % 5 else "pruned")
            for n in range(40)
        ]
        whole = [point for point in items if point.state == "complete"]
        beaten = {
            (a.x, a.y)
            for a, b in itertools.product(whole, whole)
            if b.x <= a.x and b.y >= a.y and (b.x < a.x or b.y > a.y)
        }
        front = unbeaten(Points("params", "accuracy", tuple(items), 40, None))
        assert {(point.x, point.y) for point in front} == {(p.x, p.y) for p in whole} - beaten
        assert [point.x for point in front] == sorted({point.x for point in front})


def test_there_is_no_front_over_what_is_no_merit() -> None:
    assert unbeaten(Points("number", "accuracy", cloud().items, 60, None)) == []
    root = tree(figures.pareto(Points("epoch", "params", cloud().items, 60, 1)))
    assert "epochs trained" in [text.text for text in root.iter(f"{SVG}text")]
    alone = tree(figures.pareto(Points("params", "accuracy", (Point(50, 5e4, 0.95, "complete"),), 1, 50)))
    assert "best in both" not in [text.text for text in alone.iter(f"{SVG}text")], "one point is no line"


def test_the_winner_and_the_pareto_set_are_marked() -> None:
    items = (
        *cloud(6).items,
        Point(50, 5e4, 0.95, "complete", front=True),
        Point(51, 1e4, 0.85, "complete", front=True),
    )
    root = tree(figures.pareto(Points("params", "accuracy", items, 8, 50)))
    assert len(list(marked(root, "pareto-member").iter(f"{SVG}use"))) == 2
    assert len(list(marked(root, "pareto-best").iter(f"{SVG}use"))) == 1
    assert "trial 50" in [text.text for text in root.iter(f"{SVG}text")]


# --- the verdict


def test_every_retraining_is_a_dot_and_intervals_stand_where_their_figures_say() -> None:
    verdict = found()
    root = tree(figures.verdict(verdict))
    scores = [[0.90, 0.91, 0.92], [0.88, 0.90, 0.90, 0.90], [0.89, 0.91]]
    data: list[float] = []
    drawn: list[float] = []
    for row, (group, expected) in enumerate(zip(("winner", "controls", "reference"), scores, strict=True)):
        dots = [float(use.attrib["x"]) for use in marked(root, f"verdict-runs-{row}").iter(f"{SVG}use")]
        assert len(dots) == len(expected)
        [mean] = [float(use.attrib["x"]) for use in marked(root, f"verdict-mean-{row}").iter(f"{SVG}use")]
        ends = [x for x, _ in pairs_of_line(marked(root, f"verdict-interval-{row}"))]
        data += [*expected, verdict[group]["mean"], verdict[group]["low"], verdict[group]["high"]]
        drawn += [*dots, mean, *ends]
    assert fits(data, drawn) > 0
    zero = pairs_of_line(marked(root, "verdict-zero"))[0][0]
    low, high = (x for x, _ in pairs_of_line(marked(root, "verdict-difference")))
    other_low, other_high = (x for x, _ in pairs_of_line(marked(root, "verdict-reference-difference")))
    assert fits([0.0, 0.005, 0.035, -0.01, 0.03], [zero, low, high, other_low, other_high]) > 0


@pytest.mark.parametrize(
    ("mean", "low", "high", "words"),
    [
        (0.02, 0.005, 0.035, "beat random networks of its size by 2.00 points on the test split"),
        (-0.02, -0.035, -0.005, "lost to random networks of its size by 2.00 points"),
        (0.02, -0.005, 0.045, "cannot be told from luck: 2.00 points above random"),
        (-0.02, -0.045, 0.005, "cannot be told from luck: 2.00 points below random"),
    ],
)
def test_the_verdict_is_one_sentence_with_its_interval(mean: float, low: float, high: float, words: str) -> None:
    sentence = figures.sentence(found(mean, low, high))
    assert words in sentence
    assert f"(95 % interval {low * 100:+.2f} to {high * 100:+.2f})".replace("-", "−") in sentence
    assert sentence.count(". ") == 0
    root = tree(figures.verdict(found(mean, low, high)))
    assert sentence in " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    assert sentence in said(root)
    assert sentence not in " ".join(
        text.text or "" for text in tree(figures.verdict(found(), headed=False)).iter(f"{SVG}text")
    )


def test_a_verdict_on_r2_has_the_digits_of_its_sentence_and_no_percent() -> None:
    root = tree(figures.verdict(found() | {"score": "R²"}, Look(metric="r2")))
    texts = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    for words in ("by 0.020 of R² on the test split", "(95 % interval +0.005 to +0.035)", "ahead by", "R² on the test"):
        assert words in texts
    assert "The winner: 0.910 (0.890 to 0.930), each 0.900, 0.910, 0.920." in said(root)
    for text in (texts, said(root)):
        assert text.count("%") == text.count("95 %")
        assert "points" not in text


def test_a_verdict_without_its_parts_is_known_as_such() -> None:
    assert figures.is_whole(found())
    assert not figures.is_whole({"shipped": {"accuracy": 0.5}, "text": "won"})
    assert not figures.is_whole(None)


# --- all of them


def test_pictures_are_the_same_every_time_also_when_drawn_at_once() -> None:
    def made(_: int) -> list[str | bytes]:
        return [content for drawing in drawings(Look()).values() for content in (drawing.svg, drawing.png(1.0))]

    alone = made(0)
    with ThreadPoolExecutor(3) as pool:
        assert all(together == alone for together in pool.map(made, range(3)))


def ground(image: Image.Image) -> str:
    """The colour of its corner."""
    red, green, blue = np.asarray(image)[1, 1]
    return f"#{red:02x}{green:02x}{blue:02x}"


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", ["curves", "pareto", "incumbents", "verdict"])
def test_the_png_has_the_size_of_the_svg_and_its_ground(theme: str, name: str) -> None:
    drawing = drawings(Look(THEMES[theme]))[name]
    root = tree(drawing)
    for scale in (1.0, 2.0) if name == "curves" else (1.5,):
        image = Image.open(io.BytesIO(drawing.png(scale))).convert("RGB")
        assert list(image.size) == [int(root.attrib[side]) * scale for side in ("width", "height")]
        assert ground(image) == THEMES[theme].surface
        assert len(image.getcolors(1 << 20) or []) > 20


def every_svg() -> Iterator[tuple[str, str]]:
    for theme in THEMES:
        for name, drawing in drawings(Look(THEMES[theme], width_px=420)).items():
            yield name, drawing.svg


def test_pictures_load_and_run_nothing_and_say_what_they_show() -> None:
    for name, svg in every_svg():
        root = ET.fromstring(svg)
        assert root.get("role") == "img"
        title = root.find(f"{SVG}title")
        assert title is not None
        assert title.text
        assert root.attrib["aria-labelledby"].split() == [title.attrib["id"], f"{name}-description"]
        assert len(said(root)) > 20
        for element in root.iter():
            assert element.tag.rpartition("}")[2] not in ("script", "style", "foreignObject", "image", "a", "metadata")
            for key, value in element.attrib.items():
                assert not key.startswith("on")
                assert not key.endswith("href") or value.startswith("#")
                assert "url(" not in value or value.startswith("url(#")


def test_ids_of_several_pictures_in_one_page_do_not_meet() -> None:
    ids = [
        element.attrib["id"]
        for drawing in drawings(Look()).values()
        for element in tree(drawing).iter()
        if element.get("id")
    ]
    assert len(set(ids)) == len(ids)


def test_words_are_words_and_large_enough_to_be_read() -> None:
    for _, svg in every_svg():
        texts = list(ET.fromstring(svg).iter(f"{SVG}text"))
        assert len(texts) > 5
        for text in texts:
            size = re.search(r"(?:font-size: |font: (?:bold |700 )?)(\d+\.?\d*)px", text.attrib["style"])
            assert size is not None, text.attrib["style"]
            assert float(size[1]) >= 12


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", THEMES)
def test_words_and_marks_stand_out(name: str) -> None:
    theme = THEMES[name]
    for words in (theme.ink, theme.muted, theme.accent, theme.good, theme.bad):
        assert contrast(words, theme.surface) >= 4.5
    assert contrast(theme.faint, theme.surface) >= 3


def test_there_may_be_nothing_to_draw() -> None:
    for drawing in (figures.curves(Curves()), figures.pareto(Points()), figures.incumbents(Incumbents())):
        assert tree(drawing).tag == f"{SVG}svg"
        assert drawing.png(1.0)
