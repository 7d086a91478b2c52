"""Reads a downloaded model: a model.zip, or the folder that it was unpacked into. Without torch."""

import json
import zipfile
from pathlib import Path
from typing import Any, Final

FILES: Final = ("metrics.json", "genotype.json")


def describe(package: Path) -> list[Any]:
    """What metrics.json and genotype.json hold. Raises InvalidInput for what is no package, FileNotFoundError."""
    from nas.errors import InvalidInput

    try:
        if package.is_dir():
            return [json.loads((package / name).read_bytes()) for name in FILES]
        with zipfile.ZipFile(package) as archive:
            return [json.loads(archive.read(name)) for name in FILES]
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        if not package.exists():
            raise
        mend = f"it is no package ({error}); name a model.zip of `nas search` or `nas jobs download`, or its folder"
        raise InvalidInput("package", str(package), mend) from error


def names(package: Path) -> list[str]:
    """The files of a package."""
    if package.is_dir():
        return [path.name for path in package.iterdir()]
    with zipfile.ZipFile(package) as archive:
        return archive.namelist()
