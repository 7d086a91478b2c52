"""The figures of a job as SVG and PNG, and its report as one page."""

import zipfile
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from api.deps import IfNoneMatch, Parts, Service
from api.parameters import PROBLEM, JobId
from api.pictures import Asked, KeptPictures
from nas.errors import NotReady
from nas.result import figures, html
from nas.result.figures import THEMES, Drawing, Look
from nas.space import Candidate
from nas.store import files, jobs, stories
from nas.store.figures import AXES
from nas.store.specs import metric_of
from nas.store.states import ACTIVE_JOB, JobState
from nas.store.tables import Job

Name = Literal["curves", "pareto", "cells", "verdict", "incumbents"]
Theme = Literal["light", "dark"]

MEDIA: Final = {"svg": "image/svg+xml", "png": "image/png"}

STILL: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""The policy of an SVG that is opened by itself: it runs and loads nothing."""

PAGE: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
"""The policy of a report."""

REPORT: Final = "report.html"


def _described(content: dict[str, Any], what: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"content": content, "description": what},
        304: {"description": "you have it"},
        409: PROBLEM | {"description": "there is nothing to be seen yet"},
    }


router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["figures"], responses={404: PROBLEM, 422: PROBLEM})


@router.get(
    "/figures/{name}.{kind}",
    response_class=Response,
    responses=_described({"image/svg+xml": {}, "image/png": {}}, "the picture"),
)
async def show_figure(
    service: Service,
    kept: KeptPictures,
    job_id: JobId,
    name: Name,
    kind: Literal["svg", "png"],
    theme: Annotated[Theme, Query(description="light for paper, dark for dark pages")] = "light",
    x: Annotated[str | None, Query(description=f"of pareto: one of {', '.join(AXES)}")] = None,
    y: Annotated[str, Query(description="of pareto: another one of them")] = "accuracy",
    scale: Annotated[float, Query(ge=0.5, le=4, description="of a PNG: pixels for each unit of the SVG")] = 2.0,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A picture of a job for reports and slides: learning curves, size against score, the best cells, the verdict.

    The same job in the same state always gives the same picture.
    """

    def make() -> bytes:
        with service.store.read() as session:
            drawing = _drawing(session, job_id, name, theme, x, y)
        return drawing.svg.encode() if kind == "svg" else drawing.png(scale)

    axes = (x, y) if name == "pareto" else ()
    asked = Asked(
        job_id,
        (name, kind, theme, *axes, scale if kind == "png" else None),
        MEDIA[kind],
        {
            "Content-Security-Policy": STILL,
            "Content-Disposition": f'inline; filename="{name}-{job_id}.{kind}"',
        },
        make,
    )
    return await kept.answer(service.store, asked, if_none_match)


@router.get("/report", response_class=Response, responses=_described({"text/html": {}}, "the page"))
async def show_report(
    service: Service, kept: KeptPictures, job_id: JobId, if_none_match: IfNoneMatch = None
) -> Response:
    """All of a job on one page that can be kept, sent and printed: it needs no network and no script.

    Of a job that has succeeded it is the page of its package; before that it tells of the job as it is now.
    """
    asked = Asked(
        job_id,
        ("report",),
        "text/html",
        {"Content-Security-Policy": PAGE, "Content-Disposition": f'inline; filename="report-{job_id}.html"'},
        lambda: _report(service, job_id),
    )
    return await kept.answer(service.store, asked, if_none_match)


def _report(service: Parts, job_id: str) -> bytes:
    with service.store.read() as session:
        job = jobs.get(session, job_id)
        sha256 = files.package(session, job_id) if job.state == JobState.SUCCEEDED else None
        story = stories.read(session, job_id)
    if sha256 is not None:
        service.artifacts.verify(sha256)
        with service.artifacts.open(sha256) as file, zipfile.ZipFile(file) as package:
            if REPORT in package.namelist():  # one of an earlier version has none
                return package.read(REPORT)
    return html.job_page(story).encode()


def _drawing(session: Session, job_id: str, name: Name, theme: Theme, x: str | None, y: str) -> Drawing:
    """The picture. Raises NotFound, InvalidInput; NotReady, which says why there is nothing to be seen."""
    job = jobs.get(session, job_id)
    look = Look(THEMES[theme], metric=metric_of(session, job))
    match name:
        case "curves":
            curves = stories.read_curves(session, job_id)
            return figures.curves(curves, look) if curves.items else _nothing(job, "learning curve")
        case "pareto":
            points = stories.read_points(session, job_id, x, y)
            if not points.items:
                return _nothing(job, f"trial with {points.x} and {points.y}")
            return figures.pareto(points, look)
        case "incumbents":
            changes = stories.read_incumbents(session, job_id)
            return figures.incumbents(changes, look) if changes.items else _nothing(job, "best network")
        case "verdict":
            if job.verdict is None or not figures.is_whole(job.verdict):
                return _nothing(job, "verdict")
            return figures.verdict(job.verdict, look)
        case "cells":
            best = stories.best_of(session, job)
            if best is None or not best.candidate:
                return _nothing(job, "best network")
            title = f"{job.name or f'Job {job.id}'}: trial {best.trial}"
            return figures.cells(Candidate.from_json(best.candidate), title, look.theme)


def _nothing(job: Job, what: str) -> Drawing:
    if job.state in ACTIVE_JOB:
        raise NotReady(f"job {job.id} has no {what} yet: it is {job.state}; ask again later")
    raise NotReady(f"job {job.id} has no {what}, and will have none: it is {job.state}")
