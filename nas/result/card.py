"""The model card: what a person who is handed the package should know (Mitchell et al. 2019)."""

import json
import re
from html import escape
from typing import Any, Final

from nas.train.tasks import SCORE
from nas.words import NAMES, bare, score

KINDS: Final = {
    "single_label": "Classes, in order",
    "multi_label": "Labels, in order",
    "regression": "Targets, in order",
}

GIVES: Final = {
    "single_label": "the largest is the class, a softmax gives probabilities",
    "multi_label": "a sigmoid gives each label's probability; above 0 it is more likely there than not",
    "regression": "the targets themselves, in the units of the data",
}

LIMITS: Final = {
    "single_label": "It knows only the classes above and images like those it was trained on; it gives every image one "
    "of them.",
    "multi_label": "It knows only the labels above and images like those it was trained on.",
    "regression": "It knows only images like those it was trained on; elsewhere its values mean nothing.",
}


def model_card(shape: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Markdown from the contents of genotype.json and metrics.json."""
    data, job, found, recipe = metrics["data"], metrics["job"], metrics["verdict"], metrics["recipe"]
    channels, height, width = data["image"]
    low, high = data["value_range"]
    task, took = data["task"], metrics["measured"]
    metric = SCORE[task]
    measured = ", ".join(f"{name} {value:.4f}" for name, value in metrics["metrics"].items())
    return f"""# {_plain(job["name"] or f"Model of job {job['job_id']}")}

A convolutional network of {metrics["params"]:,} parameters and {metrics["macs"]:,} multiply-accumulates an image, found by
searching over {"cells" if "genotype" in shape else "layers"} ({job["strategy"]}, {job["trials"]:,} architectures) and trained on `{data["name"]}`.

![the architecture](cells.svg)

## How good it is

Test {NAMES[metric]} of these weights: **{score(metrics["accuracy"], metric)}** on {data["splits"]["test"]} images that neither the search nor the
training saw.{_over_seeds(found, metric)} All that was measured of these weights on test: {measured}.

One image takes {took["latency_ms"]:.2f} ms and {took["memory_mb"]:.2f} MB on one core of the machine that wrote this.

{(found or metrics["retraining"])["text"]}

The package was loaded in a fresh process and scored this very {NAMES[metric]} again before it was published, and ONNX
Runtime's outputs agreed with torch's.

## What it takes and gives

- Input `images`: uint8 [N, {channels}, {height}, {width}], with values from {low} to {high} as in the data; the normalisation is inside.
- Output `logits`: float32 [N, {len(data["classes"])}]; {GIVES[task]}.
- {KINDS[task]}: {", ".join(map(_plain, data["classes"]))}.

```python
import nas                                     # or onnxruntime.InferenceSession("model.onnx")
network = nas.load("model.zip")
logits = network(images)
```

## How it was made

{_made(shape)}
- Trained for {recipe["epochs"]} epochs on {data["splits"]["train"]} images; {data["splits"]["validation"]} validation images {_chose(found)}.
- Recipe: {", ".join(f"{name} {value}" for name, value in recipe.items())}.
- Data digest: `{data["digest"]}`. Job {job["job_id"]}, seed {job["seed"]}.
{_merges(metrics["merge_weights"])}
## What is in the package

- `genotype.json`: the architecture; `weights.safetensors`: its weights; `model.onnx`: both, for ONNX Runtime.
- `metrics.json`: all figures of this card and more; `cells.svg`: the picture.
- `report.html`: {"how it was found and what it was compared with" if found else "all of this with pictures"}; it opens in any browser, without a network.

## Limits

{LIMITS[task]} The {NAMES[metric]} holds for images drawn like the test split, and for no others.
"""


def _plain(text: str) -> str:
    """What somebody has typed, as Markdown that shows it and does nothing: no HTML, no links, no pictures."""
    return re.sub(r"([\\`*_\[\]!])", r"\\\1", escape(text, quote=False))


def _over_seeds(found: dict[str, Any] | None, metric: str) -> str:
    """The winner's retrainings; nothing of a network that was retrained alone."""
    if found is None:
        return ""
    winner = found["winner"]
    return (
        f"\nOver {winner['n']} retrainings of the same architecture: {score(winner['mean'], metric)} "
        f"(95 % interval {bare(winner['low'], metric)} to {bare(winner['high'], metric)})."
    )


def _chose(found: dict[str, Any] | None) -> str:
    return "chose the architecture and the seed" if found else "were what the search measured architectures by"


def _made(shape: dict[str, Any]) -> str:
    """The architecture in words, and what is not as usual in its frame."""
    candidate = shape["candidate"]
    frame = ", ".join(f"{name} {value}" for name, value in candidate["shape"].items())
    if "genotype" in shape:
        return f"- Genotype: `{shape.get('darts') or json.dumps(shape['genotype'])}`\n- Frame: {frame}."
    layers = "; ".join(
        f"{'beside it ' if beside else ''}{kind} {kernel}×{kernel} to {width} channels"
        for kind, width, kernel, beside in candidate["layers"]
    )
    return f"- Layers: {layers}.\n- Frame: {frame}."


def _merges(weights: list[dict[str, Any]]) -> str:
    """What the learned weights of a node's inputs say of them."""
    if not weights:
        return ""
    idle = [f"cell {w['cell']} node {w['node']} {w['op']} from {w['source']}" for w in weights if w["cut"]]
    says = f"{len(idle)} of {len(weights)} are near 0 and could be cut: {'; '.join(idle)}" if idle else "none is near 0"
    return f"- Learned weights of the nodes' inputs: {says}. All of them are in metrics.json.\n"
