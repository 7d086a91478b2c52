"""`nas predict` and `nas model`: what can be done with a downloaded model, without a service."""

from pathlib import Path
from typing import Annotated

import typer

from cli.connect import use_plugins
from cli.options import Images, Json
from cli.output import say, say_json

Package = Annotated[Path, typer.Argument(metavar="MODEL", help="a model.zip, or the folder that it was unpacked into")]


def predict(
    context: typer.Context,
    package: Package,
    images: Images,
    top: Annotated[int, typer.Option(min=1, help="classes to print")] = 3,
    as_json: Json = False,
) -> None:
    """Classify images with a downloaded model: the likeliest classes, all labels, or the targets' values.

    Example: `nas predict my-model cat.png dog.png`
    """
    from cli.predict import describe, predict_files  # torch: seconds of imports

    use_plugins(context)
    found = predict_files(package, images)
    if as_json:
        say_json({str(path): values for path, values in zip(images, found.values, strict=True)})
        return
    for path, values in zip(images, found.values, strict=True):
        say(f"{path}: {describe(found.task, values, top)}")


def info(package: Package, as_json: Json = False) -> None:
    """Tell what a downloaded model is: its network, its scores, and what the verdict says.

    Example: `nas model info my-model`
    """
    from rich.console import Console

    from cli.package import describe
    from cli.watch import summarise_alone

    metrics, shape = describe(package)
    if as_json:
        say_json({"metrics": metrics, "architecture": shape})
    else:
        summarise_alone(package, Console(soft_wrap=False))


def onnx(
    context: typer.Context,
    package: Package,
    to: Annotated[Path, typer.Option("--out", "-o", help="file to write, or a folder for it")] = Path("model.onnx"),
    as_json: Json = False,
) -> None:
    """Export a model once more as ONNX, compared with the network before it is written.

    Example: `nas model onnx my-model -o model.onnx`
    """
    _export(context, package, "export_onnx", to, as_json=as_json)


def torch(
    context: typer.Context,
    package: Package,
    to: Annotated[Path, typer.Option("--out", "-o", help="file to write, or a folder for it")] = Path("model.pt2"),
    as_json: Json = False,
) -> None:
    """Export a model as a torch.export program, which torch.export.load reads without this project.

    Example: `nas model torch my-model -o model.pt2`
    """
    _export(context, package, "export_torch", to, as_json=as_json)


def _export(context: typer.Context, package: Path, method: str, to: Path, *, as_json: bool) -> None:
    import nas  # torch: seconds of imports

    use_plugins(context)
    written = getattr(nas.load(package), method)(to)
    if as_json:
        say_json({"path": str(written)})
    else:
        say(str(written))
