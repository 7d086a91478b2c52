"""The model card: what a person who is handed the package should know (Mitchell et al. 2019)."""

from typing import Any


def model_card(shape: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Markdown from the contents of genotype.json and metrics.json."""
    data, job, found, recipe = metrics["data"], metrics["job"], metrics["verdict"], metrics["recipe"]
    channels, height, width = data["image"]
    low, high = data["value_range"]
    winner = found["winner"]
    return f"""# {job["name"] or f"Model of job {job['job_id']}"}

A convolutional network of {metrics["params"]:,} parameters and {metrics["macs"]:,} multiply-accumulates an image, found by
searching over cells ({job["strategy"]}, {job["trials"]} architectures) and trained on `{data["name"]}`.

![the two cells](cells.svg)

## How good it is

Test accuracy of these weights: **{metrics["accuracy"] * 100:.2f} %** on {data["splits"]["test"]} images that neither the search nor the
training saw. Over {winner["n"]} retrainings of the same architecture: {winner["mean"] * 100:.2f} % (95 % interval {winner["low"] * 100:.2f} to
{winner["high"] * 100:.2f}).

{found["text"]}

The package was loaded in a fresh process and scored this very accuracy again before it was published, and ONNX
Runtime's logits agreed with torch's.

## What it takes and gives

- Input `images`: uint8 [N, {channels}, {height}, {width}], with values from {low} to {high} as in the data; the normalisation is inside.
- Output `logits`: float32 [N, {len(data["classes"])}]; the largest is the class, a softmax gives probabilities.
- Classes, in order: {", ".join(data["classes"])}.

```python
import nas                                     # or onnxruntime.InferenceSession("model.onnx")
network = nas.load("model.zip")
logits = network(images)
```

## How it was made

- Genotype: `{shape["darts"]}`
- {shape["cells"]} cells, {shape["channels"]} channels in the first one.
- Trained for {recipe["epochs"]} epochs on {data["splits"]["train"]} images; {data["splits"]["validation"]} validation images chose the architecture and the seed.
- Recipe: {", ".join(f"{name} {value}" for name, value in recipe.items())}.
- Data digest: `{data["digest"]}`. Job {job["job_id"]}, seed {job["seed"]}.

## Limits

It knows only the classes above and images like those it was trained on; it gives every image one of them. The
accuracy holds for images drawn like the test split, and for no others.
"""
