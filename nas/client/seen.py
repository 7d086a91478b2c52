"""What both kinds of jobs have: an id, what was last seen of it, and how it looks in a terminal and in a notebook."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from nas.client import html
from nas.client.answers import Dashboard, JobHead
from nas.client.looks import look_at
from nas.errors import InvalidInput
from nas.words import named

STARTING_S: Final = 15.0
"""Workers that are being started are not called missing for so long."""

PICTURES_S: Final = 2.0
"""A notebook's pictures are asked for this often, and drawn anew if they have changed."""

PICTURES: Final = {
    "incumbents": "The best score so far, over time",
    "curves": "The learning curves of the trials",
}
"""What a notebook shows of a job that is watched, by the figure's name."""


class Seen:
    """A job as it was last seen.

    Attributes:
        id: of it.
        url: of its page on the service.
    """

    def __init__(self, service: str, summary: JobHead) -> None:
        self.id: str = summary["id"]
        self.url = f"{service.rstrip('/')}/jobs/{self.id}"
        self._summary: JobHead = summary
        self._dashboard: Dashboard | None = None

    @property
    def name(self) -> str | None:
        """What people call it."""
        return self._summary["name"]

    def __repr__(self) -> str:
        said = [self.id, *([repr(self.name)] if self.name else []), self._summary["state"], self._summary["dataset"]]
        best = named(self._summary["best_accuracy"], self._summary["metric"])
        return f"<{type(self).__name__} {', '.join([*said, *([f'best {best}'] if best else [])])}>"

    def _repr_html_(self) -> str:
        shown, summary = self._dashboard, self._summary
        rows: list[tuple[str, object]] = [
            ("name", summary["name"]),
            ("state", summary["state"]),
            ("data set", summary["dataset"]),
            ("strategy", summary["strategy"]),
            ("best on validation", named(summary["best_accuracy"], summary["metric"])),
        ]
        if shown is None:
            return f"<div>{html.link(self.url, f'job {self.id}')}</div>{html.pairs(rows)}"
        look = look_at(shown, patient=True)
        rows += [
            ("reason", shown["job"]["reason"]),
            ("note", shown["job"]["note"]),
            ("waiting", shown["waiting"] and shown["waiting"]["text"]),
            ("verdict", (shown["verdict"] or {}).get("text")),
        ]
        bar = html.bar(look.fraction, f"{look.description}: {look.figures}")
        return f"<div>{html.link(self.url, f'job {self.id}')}</div>{bar}{html.pairs(rows)}"

    def _see(self, shown: Dashboard) -> Dashboard:
        """Takes over what a dashboard says."""
        job, best = shown["job"], shown["best"]
        self._dashboard = shown
        self._summary["state"] = job["state"]
        self._summary["name"] = job["name"]
        self._summary["priority"] = job["priority"]
        self._summary["started_at"], self._summary["finished_at"] = job["started_at"], job["finished_at"]
        if best is not None:
            self._summary["best_accuracy"] = best["accuracy"]
        return shown

    def _left_alone(self) -> str:
        return f"job {self.id} goes on; .watch() it again, or stop it with .cancel()"


@runtime_checkable
class Drawn(Protocol):
    """An image of Pillow, or whatever else can be saved as one does."""

    def save(self, fp: Any, format: str) -> None:
        """Writes it."""


Image = str | Path | bytes | Drawn
"""A path, the bytes of an image file, or an image of Pillow."""


def image_file(image: Image) -> tuple[str, bytes]:
    """Name and content of an image as a file. Raises InvalidInput, OSError."""
    if isinstance(image, bytes):
        return "image", image
    if isinstance(image, str | Path):
        return Path(image).name, Path(image).read_bytes()
    if isinstance(image, Drawn):
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        return "image.png", buffer.getvalue()
    raise InvalidInput("image", type(image).__name__, "give a path, the bytes of an image file, or an image of Pillow")


def file_at(path: str | Path, name: str) -> Path:
    """Where a file is to be written: the path itself if it has an ending, else that name in the folder."""
    target = Path(path)
    return target / name if target.is_dir() or not target.suffix else target


def budget_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were given."""
    return {name: value for name, value in values.items() if value is not None}
