"""What stands in the sections of report.html."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from nas.result.figures import Look, sentence
from nas.result.markup import Html, facts, joined, table, tag
from nas.result.story import Story

if TYPE_CHECKING:
    from nas.result.html import Made

KEPT: Final = 60
"""Classes that a table shows; more are in metrics.json."""

CONFUSED: Final = 20
"""Classes of which all pairs are shown."""

WAITS: Final = (
    "There is no verdict yet: it comes when the job has retrained its best networks, random ones of their size and a "
    "hand-designed one, and has scored all of them on the test split."
)


def verdict(found: dict[str, Any], drawn: Html, look: Look) -> Html:
    """The verdict in one sentence, its picture, all of it in words, and the figures of every network."""
    rows = [_network("the winner", found["winner"], look)]
    rows += [_network(f"random network {n}", each, look) for n, each in enumerate(found["controls"]["networks"], 1)]
    rows.append(_network("hand-designed residual network", found["reference"], look))
    head = ("network", "parameters", f"mean {look.score} on test", "each retraining")
    return joined(
        (
            tag("p", sentence(found, look), class_="lead"),
            tag("div", drawn, tag("p", found["text"]), class_="beside"),
            table("Controls and reference: all were trained by the same recipe, with the same epochs.", head, rows),
        )
    )


def no_verdict(story: Story | None, metrics: dict[str, Any] | None) -> Html:
    """Why there is none."""
    if metrics is not None and metrics.get("retraining"):
        return tag("p", metrics["retraining"]["text"], class_="notice")
    if story is not None and story.state in ("failed", "cancelled"):
        why = f": {story.reason}" if story.reason else ""
        return tag("p", f"There is none: the job is {story.state}{why}.", class_="notice")
    if story is not None and story.verdict is not None:
        return tag("p", str(story.verdict.get("text", "")))
    return tag("p", WAITS, class_="notice")


def winner(story: Story | None, made: "Made | None", drawn: Html, look: Look) -> Html:
    """What the network is, what it costs, and how good it is."""
    pairs: list[tuple[str, str]] = []
    shape: dict[str, Any] = {}
    if made is not None:
        shape, metrics = made.shape, made.metrics
        took = metrics["measured"]
        pairs = [
            (f"Test {look.score} of these weights", look.value(metrics["accuracy"])),
            ("Parameters", f"{metrics['params']:,}"),
            ("Multiply-accumulates", f"{metrics['macs']:,}"),
            ("Latency of one image", f"{took['latency_ms']:.2f} ms on one core"),
            ("Peak memory of one image", f"{took['memory_mb']:.2f} MB"),
        ]
        pairs += [(f"Test {name}", f"{value:.4f}") for name, value in metrics["metrics"].items() if name != look.metric]
    elif story is not None and story.best is not None:
        best = story.best
        shape = {"candidate": best.candidate, "genotype": best.candidate.get("genotype")}
        shipped = (story.verdict or {}).get("shipped")
        pairs = [(f"Test {look.score} of its weights", look.value(shipped["accuracy"]))] if shipped else []
        pairs += [
            ("Trial", str(best.trial)),
            (f"{look.score} on validation".capitalize(), "–" if best.accuracy is None else look.value(best.accuracy)),
            ("Parameters", "–" if best.params is None else f"{best.params:,}"),
            ("Multiply-accumulates", "–" if best.macs is None else f"{best.macs:,}"),
        ]
    text = shape.get("darts") or json.dumps(shape.get("genotype") or shape.get("candidate"), indent=None)
    return joined((facts(pairs), drawn, _folded("As text", _code(text))))


def classes(metrics: dict[str, Any]) -> Html:
    """Recall and precision of each class, and what is taken for what."""
    found = metrics["classes"]
    shown = sorted(found, key=lambda each: (each["recall"] is None, each["recall"]))[:KEPT]
    said = f"The {KEPT} hardest of {len(found)}" if len(found) > KEPT else "The hardest first"
    said += ". Recall: which share of its images is found; precision: which share of what is taken for it is right."
    rows = [(one["name"], f"{one['images']:,}", _share(one["recall"]), _share(one["precision"])) for one in shown]
    tables = [table(said, ("class", "images", "recall", "precision"), rows)]
    pairs = metrics.get("confusion")
    if pairs and len(pairs) <= CONFUSED:
        tables.append(_confusion(pairs, [each["name"] for each in found]))
    return joined(tables)


def asked(story: Story) -> Html:
    """The request, in short and as it stands."""
    spec = story.spec
    objectives = ", ".join(f"{one['direction']} {one['metric']}" for one in spec.get("objectives", ()))
    budget = ", ".join(f"{name} {value}" for name, value in spec.get("budget", {}).items())
    final = ", ".join(f"{name} {value}" for name, value in spec.get("final", {}).items() if not isinstance(value, dict))
    return joined(
        (
            facts(
                (
                    ("Strategy", str(spec.get("strategy", "–"))),
                    ("Objectives", objectives or "–"),
                    ("Budget", budget or "–"),
                    ("After the search", final or "–"),
                    ("Seed", str(spec.get("seed", "–"))),
                )
            ),
            _folded("The whole request, defaults filled in", _code(json.dumps(spec, indent=2, ensure_ascii=False))),
        )
    )


def spent(story: Story) -> Html:
    """Trials, epochs and time."""
    took = story.spent
    rows = [(phase, state, f"{count:,}") for phase, state, count in took.trials]
    return joined(
        (
            facts(
                (
                    ("Epochs of the search", f"{took.search_epochs:,}"),
                    ("Epochs of retrainings", f"{took.final_epochs:,}"),
                    ("Training, all workers", duration(took.train_s)),
                    ("From start to end", duration(took.elapsed_s)),
                )
            ),
            table("Trials by what they were for and how they ended.", ("phase", "state", "trials"), rows),
            *((tag("p", story.note, class_="notice"),) if story.note else ()),
        )
    )


def recipe(metrics: dict[str, Any]) -> Html:
    """How the network was trained."""
    return facts((name.replace("_", " "), _plainly(value)) for name, value in metrics["recipe"].items())


def data(story: Story | None, made: "Made | None") -> Html:
    """What was trained on, by which it can be told again, and the seeds."""
    if made is not None:
        about, seed = made.metrics["data"], made.metrics["job"]["seed"]
        splits, image, names = about["splits"], about["image"], about["classes"]
        name, digest, task = about["name"], about["digest"], about["task"]
    elif story is not None:
        of = story.data
        splits = {"train": of.train, "validation": of.validation, "test": of.test}
        name, digest, task, image, names = of.name, of.digest, of.task, of.image, of.classes
        seed = story.spec.get("seed")
    else:
        return Html("")
    found = made.metrics["verdict"] if made else story.verdict if story else None
    pairs = [
        ("Data set", name),
        ("Task", task.replace("_", " ")),
        ("Images", " × ".join(map(str, image)) + " (channels, height, width)"),
        ("Splits", ", ".join(f"{part} {count:,}" for part, count in splits.items())),
        (f"{len(names)} classes" if task == "single_label" else f"{len(names)} outputs", _some(names)),
        ("Seed of the job", str(seed)),
    ]
    if found and "winner" in found:
        pairs.append(("Retrainings of the winner", f"{found['winner']['n']}, each with a seed of its own"))
    return joined((facts(pairs), tag("p", "Digest of the data: ", tag("code", digest))))


def verified(metrics: dict[str, Any], look: Look) -> Html:
    """What was done before the package was handed out."""
    score, images = look.value(metrics["accuracy"]), metrics["data"]["splits"]["test"]
    done = [
        f"The package was loaded in a fresh process, as its user loads it, and scored {score} again on the same "
        f"{images:,} test images: exactly the reported figure, or it would not have been published.",
        "The ONNX file was run with ONNX Runtime on the same images: its outputs agreed with torch's.",
        "The test split was read once, after everything had been chosen by validation.",
    ]
    versions = ", ".join(f"{name} {number}" for name, number in metrics["versions"].items())
    return joined((tag("ul", *(tag("li", each) for each in done)), tag("p", f"Made with {versions}.")))


def loading(story: Story | None, made: "Made | None") -> Html:
    """How to get the model, and how to use it."""
    job_id = made.metrics["job"]["job_id"] if made else story.job_id if story else ""
    if made is None and story is not None and story.state != "succeeded":
        return tag("p", "There is no model yet; it is there when the job has succeeded.")
    torch = (
        "import nas\n\n"
        'network = nas.load("model.zip")  # with its weights and its normalisation\n'
        "logits = network(images)  # uint8 [N, C, H, W], as the data set holds them"
    )
    onnx = (
        "import onnxruntime, zipfile\n\n"
        'model = zipfile.ZipFile("model.zip").read("model.onnx")\n'
        "session = onnxruntime.InferenceSession(model)\n"
        '[logits] = session.run(None, {"images": images})'
    )
    address, command = tag("code", f"GET /v1/jobs/{job_id}/model"), tag("code", f"nas jobs download {job_id}")
    fetched = tag("p", "The package is ", address, ", or ", command, ".")
    return joined((fetched, tag("h3", "With PyTorch"), _code(torch), tag("h3", "Without this project"), _code(onnx)))


def duration(seconds: float) -> str:
    """Seconds as 4 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    whole = max(0, round(seconds))
    for size, unit, part, small in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {small}"
    return f"{whole} s"


def _network(name: str, found: dict[str, Any], look: Look) -> Sequence[str]:
    low_high = f" ({look.value(found['low'])} to {look.value(found['high'])})" if "low" in found else ""
    scores = found["accuracies"]
    mean = look.value(sum(scores) / len(scores))
    return (
        f"{name}, trial {found['trial']}",
        f"{found['params']:,}",
        mean + low_high,
        ", ".join(map(look.value, scores)),
    )


def _confusion(pairs: list[list[int]], names: list[str]) -> Html:
    rows: list[list[str]] = []
    for name, row in zip(names, pairs, strict=True):
        most = max(1, sum(row))
        cells = [(str(count) if count else "·", f"--share:{count / most:.3f}") for count in row]
        rows.append([name, *(tag("td", text, class_="heat", style=style) for text, style in cells)])
    said = "What is taken for what: a row for each true class, a column for what it was taken for."
    return table(said, ("true class", *names), rows)


def _folded(name: str, content: Html) -> Html:
    return tag("details", tag("summary", name), content)


def _code(text: str) -> Html:
    return tag("pre", tag("code", text), tabindex=0)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.1f} %"


def _plainly(value: object) -> str:
    return "–" if value is None else "yes" if value is True else "no" if value is False else str(value)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
