"""report.html: one page that tells all of a job, from its rows at any moment, or with its package when it has ended.

It needs nothing but itself: no script, no other file, no other host. What people wrote is escaped, wherever it stands.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from nas.result import figures, parts
from nas.result.figures.architecture import recolouring
from nas.result.figures.themes import DARK, LIGHT
from nas.result.markup import Html, joined, plain, tag
from nas.result.story import Story
from nas.result.style import SHEET
from nas.space import Candidate, ResidualNet
from nas.train.tasks import SCORE

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser may load for the page: nothing. Its styles stand in it."""

PICTURE_PX: Final = 420
"""Wide enough for two beside each other, and to be read where a phone shows it smaller."""


@dataclass(frozen=True, eq=False, slots=True)
class Made:
    """A package: the contents of its genotype.json and metrics.json."""

    shape: dict[str, Any]
    metrics: dict[str, Any]


def job_page(story: Story) -> str:
    """The page of a job as it is now, whatever its state."""
    return _page(story, None)


def package_page(made: Made, story: Story | None) -> str:
    """The page of a package; without a story it is that of a network that was retrained alone."""
    return _page(story, made)


def _page(story: Story | None, made: Made | None) -> str:
    about = made.metrics["job"] if made else {}
    job_id = story.job_id if story else about["job_id"]
    title = (story.name if story else about["name"]) or f"Job {job_id}"
    colours: dict[str, str] = {}
    sections = joined(_sections(story, made, colours))
    light = "".join(f"{_variable(colour)}:{colour};" for colour in colours)
    dark = "".join(f"{_variable(colour)}:{other};" for colour, other in colours.items())
    named = "".join(f"--{name}:var({_variable(colour)});" for name, colour in asdict(LIGHT).items())
    dark_rules = f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{plain(title)}: report</title><style>:root{{{light}{named}}}{dark_rules}{SHEET}</style></head>\n"
        f"<body><header>{tag('h1', title)}{tag('p', _under(story, made, job_id), class_='under')}</header>"
        f"<main>{sections}</main></body></html>\n"
    )


def _under(story: Story | None, made: Made | None, job_id: str) -> str:
    data = made.metrics["data"]["name"] if made else story.data.name if story else ""
    if story is None:
        return f"One network of job {job_id}, retrained alone on {data}."
    if made is not None:
        return f"Job {job_id} on {data}, ended {story.moment:%Y-%m-%d %H:%M} UTC."
    return f"Job {job_id} on {data}: {story.state}, as of {story.moment:%Y-%m-%d %H:%M} UTC."


def _sections(story: Story | None, made: Made | None, colours: dict[str, str]) -> Iterator[Html]:
    """The sections in order; the colours of their pictures are added to `colours`, light → dark."""
    colours |= _pairs()
    task = made.metrics["data"]["task"] if made else story.data.task if story else "single_label"
    look = figures.Look(width_px=PICTURE_PX, metric=SCORE[task])
    verdict = made.metrics["verdict"] if made else story.verdict if story else None

    def picture(drawing: figures.Drawing, caption: str, class_: str = "picture") -> Html:
        return _picture(drawing, caption, colours, class_)

    if verdict is not None and figures.is_whole(verdict):
        drawn = picture(figures.verdict(verdict, look, headed=False), "")
        yield _section("Verdict", parts.verdict(verdict, drawn, look), full=True)
    else:
        yield _section("Verdict", parts.no_verdict(story, made.metrics if made else None), full=True)
    candidate = _candidate(story, made)
    if candidate is not None:
        drawn = Html("")
        if not isinstance(candidate.architecture, ResidualNet):
            colours |= recolouring(candidate, DARK)
            drawn = picture(figures.cells(candidate, "Its architecture"), "", "cells")
        name = "The winner" if verdict else "The network" if story is None else "The best network so far"
        yield _section(name, parts.winner(story, made, drawn, look), full=True)
    if made and made.metrics.get("classes"):
        yield _section("Class by class, on the test split", parts.classes(made.metrics), full=True)
    if story is not None:
        yield from _searched(story, look, picture)
        yield _section("What was asked for", parts.asked(story))
        yield _section("What it took", parts.spent(story))
    yield _section("Data and seeds", parts.data(story, made))
    if made is not None:
        yield _section("Recipe of the training", parts.recipe(made.metrics), full=True)
        yield _section("What was verified", parts.verified(made.metrics, look), full=True)
    yield _section("How to load the model", parts.loading(story, made), full=True)


def _searched(story: Story, look: figures.Look, picture: Any) -> Iterator[Html]:
    """How the search went, in pictures; those for which there is nothing yet are left out."""
    if story.incumbents.items:
        yield _section("Best so far", picture(figures.incumbents(story.incumbents, look), "Over the time of the job."))
    if story.curves.items:
        said = "Search trials; those that were stopped early are dim."
        yield _section("Learning curves", picture(figures.curves(story.curves, look), said))
    if story.points.items:
        drawn = figures.pareto(story.points, look)
        yield _section("Size and score", picture(drawn, "Every mark is a trial of the search."))


def _section(name: str, content: Html, *, full: bool = False) -> Html:
    return tag("section", tag("h2", name), content, class_="full" if full else None)


def _candidate(story: Story | None, made: Made | None) -> Candidate | None:
    if made is not None:
        return Candidate.from_json(made.shape["candidate"])
    if story is not None and story.best is not None and story.best.candidate:
        return Candidate.from_json(story.best.candidate)
    return None


# --- pictures whose colours follow the page


def _pairs() -> dict[str, str]:
    """Light → dark, of all pictures with axes."""
    dark = asdict(DARK)
    return {colour: dark[name] for name, colour in asdict(LIGHT).items()}


def _variable(colour: str) -> str:
    return f"--c{colour.removeprefix('#')}"


def _picture(drawing: figures.Drawing, caption: str, colours: Mapping[str, str], class_: str) -> Html:
    """A picture of the light theme whose colours are variables of the page."""
    svg = re.sub(
        r"#[0-9a-f]{3,6}(?=[\";])",
        lambda found: f"var({_variable(found[0])})" if found[0] in colours else found[0],
        drawing.svg,
    )
    said = (tag("figcaption", caption),) if caption else ()
    if class_ == "cells":  # wider than a phone: it can be scrolled, by keyboard as well
        return tag("figure", Html(svg), *said, class_=class_, tabindex=0, aria_label="The architecture")
    return tag("figure", Html(svg), *said, class_=class_)
