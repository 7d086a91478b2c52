"""What the API answers about data sets."""

from datetime import datetime
from typing import Self
from urllib.parse import quote

from pydantic import BaseModel, Field

from nas.data.builtin import BUILTIN
from nas.data.found import count_text
from nas.store.tables import PUBLIC, Dataset


class DatasetInfo(BaseModel):
    """A data set that can be named in a job; of a built-in one the rest is null until it is first used."""

    name: str
    summary: str
    owner: str | None = Field(None, description="whose it is; null if it is everyone's")
    task: str | None = Field(None, description="single_label, multi_label or regression")
    image: list[int] | None = Field(None, description="channels, height, width")
    images: int | None = Field(None, description="how many there are")
    classes: list[str] | None = Field(None, description="in the order of their labels")
    counts: dict[str, int] | None = Field(None, description="images of each class")
    splits: dict[str, int] | None = Field(None, description="images for training, validation and test")
    digest: str | None = Field(None, description="sha256 of all that training can see")
    size_bytes: int | None = Field(None, description="of the file that the service keeps")
    warnings: list[str] | None = Field(None, description="what the reading of the upload passed over")
    created_at: datetime | None = None
    links: dict[str, str]

    @classmethod
    def of(cls, row: Dataset) -> Self:
        """From a row."""
        return cls(
            name=row.name,
            owner=None if row.owner == PUBLIC else row.owner,
            summary=BUILTIN[row.name].summary if row.name in BUILTIN else _summary(row),
            image=[row.channels, row.height, row.width],
            images=row.train + row.validation + row.test,
            splits={"train": row.train, "validation": row.validation, "test": row.test},
            **{name: getattr(row, name) for name in ("task", "classes", "counts", "digest", "size_bytes", "warnings")},
            created_at=row.created_at,
            links=dataset_links(row.name),
        )

    @classmethod
    def unused(cls, name: str) -> Self:
        """A built-in data set that no job has asked for yet."""
        return cls(name=name, summary=BUILTIN[name].summary, links=dataset_links(name))


def dataset_links(name: str) -> dict[str, str]:
    """Where everything of a data set is."""
    return {"self": f"/v1/datasets/{quote(name, safe='')}"}


def _summary(row: Dataset) -> str:
    colour = "grey" if row.channels == 1 else "colour"
    images = f"{row.train + row.validation + row.test:,} {colour} images of {row.width}×{row.height} pixels"
    outputs = len(row.classes)
    if row.task == "regression":
        return f"{images} with {count_text(outputs, 'target')} each"
    return (
        f"{images} with {outputs} labels that may hold"
        if row.task == "multi_label"
        else f"{images} in {outputs} classes"
    )
