"""Where Tune keeps the checkpoints of trials that its schedulers pause or clone: beside the artifacts, for a drive."""

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pyarrow.fs import FSSpecHandler, PyFileSystem

from nas.store.places import Folder, Objects, find_place

FOLDER: Final = "ray"
"""In the artifact store, beside its own folders."""


@contextmanager
def shelf(artifacts_url: str, job_id: str, term: int) -> Iterator[dict[str, Any]]:
    """The arguments of a RunConfig that name the place; what is there goes with the drive.

    So does what an earlier driver of the job has left, which nobody goes on from: its rows say where to go on.
    """
    place = find_place(artifacts_url)
    assert isinstance(place, Folder | Objects)  # noqa: S101 - there are no others
    root = f"{place.root}".rstrip("/") + f"/{FOLDER}/{job_id}"
    given: dict[str, Any] = {"storage_path": root, "name": f"{term}"}
    if isinstance(place, Objects):
        given["storage_filesystem"] = PyFileSystem(FSSpecHandler(place.system))
    _remove(place, root)
    try:
        yield given
    finally:
        _remove(place, f"{root}/{term}")


def _remove(place: Folder | Objects, path: str) -> None:
    if isinstance(place, Folder):
        shutil.rmtree(path, ignore_errors=True)
        folders = Path(path).relative_to(place.root).parents
        for folder in list(folders)[:-1]:  # the job's, and that of all jobs, if nothing is in them; never the store's
            with contextlib.suppress(OSError):
                (place.root / folder).rmdir()
    else:
        with contextlib.suppress(Exception):  # it is of no use to anyone; a store that is away keeps it
            place.system.rm(path, recursive=True)
