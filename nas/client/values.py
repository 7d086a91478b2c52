"""What a client hands out to look at: the best network, figures, lists of jobs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, overload

from nas.client import html
from nas.client.answers import BestNetwork, JobSummary
from nas.errors import InvalidInput
from nas.words import NAMES, named, score

J = TypeVar("J")


@dataclass(frozen=True, slots=True)
class Best:
    """The best network of a job so far, in the end the winner.

    Attributes:
        trial: its number.
        accuracy: the task's score on validation.
        test_accuracy: of the weights in the package; None before the job has succeeded.
        params, macs: what it costs.
        darts: its cells in the DARTS text format; None for other architectures.
        genotype: the two cells; None for other architectures.
        candidate: architecture, frame, and what was chosen of the recipe.
        verdict: of the comparison with random controls; None before there is one.
        metric: what the accuracies are: accuracy, map (mean average precision) or r2.
    """

    trial: int
    accuracy: float | None
    test_accuracy: float | None
    params: int | None
    macs: int | None
    darts: str | None = field(repr=False)
    genotype: dict[str, Any] | None = field(repr=False)
    candidate: dict[str, Any] = field(repr=False)
    verdict: dict[str, Any] | None = field(repr=False)
    metric: str = field(default="accuracy", repr=False)

    @classmethod
    def of(cls, answer: BestNetwork) -> Self:
        """From the service's answer."""
        return cls(
            trial=answer["trial"],
            accuracy=answer["accuracy"],
            test_accuracy=answer["test_accuracy"],
            params=answer["params"],
            macs=answer["macs"],
            darts=answer["darts"],
            genotype=answer["genotype"],
            candidate=answer["candidate"],
            verdict=answer["verdict"],
            metric=answer["metric"],
        )

    def _repr_html_(self) -> str:
        return html.pairs(
            [
                ("trial", self.trial),
                (f"{NAMES[self.metric]} on validation", score(self.accuracy, self.metric)),
                (f"{NAMES[self.metric]} on test", score(self.test_accuracy, self.metric)),
                ("parameters", None if self.params is None else f"{self.params:,}"),
                ("multiply-accumulates", None if self.macs is None else f"{self.macs:,}"),
                ("cells", self.darts),
                ("verdict", (self.verdict or {}).get("text")),
            ]
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture of a job. A notebook shows it; anywhere else, save it.

    Attributes:
        name: what it shows, such as `pareto`.
        svg: as text.
        png: as the bytes of a file.
    """

    name: str
    svg: str = field(repr=False)
    png: bytes = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Writes it to a file that ends in .svg or .png, or as .svg into a folder; returns its path.

        Raises:
            InvalidInput: the path ends otherwise.
            OSError: it cannot be written.
        """
        target = Path(path)
        target = target / f"{self.name}.svg" if target.is_dir() else target
        contents = {".svg": self.svg.encode(), ".png": self.png}
        content = contents.get(target.suffix.lower())
        if content is None:
            raise InvalidInput("path", str(path), f"name a file that ends in {' or '.join(contents)}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def _repr_svg_(self) -> str:
        return self.svg


class Jobs(Sequence[J], Generic[J]):
    """Jobs, newest first. A notebook shows them as a table.

    Attributes:
        summaries: the same jobs as the service listed them.
    """

    def __init__(self, summaries: Sequence[JobSummary], made: Callable[[JobSummary], J]) -> None:
        self.summaries = list(summaries)
        self._jobs = [made(summary) for summary in summaries]

    def __len__(self) -> int:
        return len(self._jobs)

    @overload
    def __getitem__(self, index: int) -> J: ...

    @overload
    def __getitem__(self, index: slice) -> list[J]: ...

    def __getitem__(self, index: int | slice) -> J | list[J]:
        return self._jobs[index]

    def __repr__(self) -> str:
        return repr(self._jobs)

    def _repr_html_(self) -> str:
        rows = [
            (
                job["id"],
                job["name"],
                job["state"],
                job["dataset"],
                job["strategy"],
                named(job["best_accuracy"], job["metric"]),
                job["created_at"][:16].replace("T", " "),
            )
            for job in self.summaries
        ]
        headings = ("job", "name", "state", "data set", "strategy", "best on validation", "created (UTC)")
        return html.table(headings, rows) if rows else "<p>no jobs</p>"
