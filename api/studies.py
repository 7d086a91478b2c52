"""What a search has taught so far, kept for each job until its version changes: whoever polls it costs one question."""

import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any, Final

from fastapi import Depends, Request

from api.study_schemas import Dimension, Importance, Importances, Line, Parallel, Parameter
from nas.objectives import ObjectiveForm, in_order
from nas.search.importances import importances
from nas.search.prospects import Prospect, prospects, standing
from nas.search.study import in_words, params_of
from nas.space import Categorical, Distribution
from nas.space.parameters import has_choice
from nas.store import jobs, studies
from nas.store.session import Store
from nas.store.specs import spec_of

KEPT: Final = 32
"""Jobs that are kept; half a megabyte each, if they have many trials."""

SAMPLE: Final = 2_000
"""Trials at most that importances rest on. To read the networks of ten thousand takes two seconds."""

DIMENSIONS: Final = 12
"""Of parallel coordinates; more of them nobody can follow."""

LINES: Final = 500
"""Of parallel coordinates, at most."""


@dataclass(frozen=True, eq=False, slots=True)
class Lesson:
    """What is known of a search at a version of its job.

    Attributes:
        version: of the job.
        objective: by which trials are compared: the first one.
        distributions: of the parameters that are a choice.
        known: the trials with a score, by number; their values are to be maximised.
        shown: number → (state, the metric's value) of the same trials.
        params: number → values of the parameters, of a part of them.
        importances: what the trials in `params` say.
    """

    version: int
    objective: ObjectiveForm
    distributions: Mapping[str, Distribution]
    known: Sequence[Prospect[None]]
    shown: Mapping[int, tuple[str, float]]
    params: Mapping[int, tuple[Parameter, ...]]
    importances: Importances


class Lessons:
    """Keeps the newest lessons; whether one still holds, the database says at every question."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Lesson] = OrderedDict()
        self._lock = Lock()

    def get(self, store: Store, job_id: str) -> Lesson:
        """The lesson of a job as it is now; one is made at a time. Raises NotFound."""
        version = _version(store, job_id)
        with self._lock:
            kept = self._kept.get(job_id)
            if kept is not None and kept.version > version:
                version = _version(store, job_id)  # learnt since we asked; or the database is an older one by now
            if kept is None or kept.version != version:
                before = kept if kept is not None and kept.version < version else None
                kept = self._kept[job_id] = _learn(store, job_id, before)
            self._kept.move_to_end(job_id)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return kept


def _version(store: Store, job_id: str) -> int:
    with store.read() as session:
        return jobs.get(session, job_id).version


async def _lessons(request: Request) -> Lessons:
    found = request.app.state.lessons
    if not isinstance(found, Lessons):
        raise TypeError(found)
    return found


KeptLessons = Annotated[Lessons, Depends(_lessons)]


def parallel(lesson: Lesson, limit: int) -> Parallel:
    """At most `limit` trials across the parameters that matter most.

    A quarter of them are the best ones, the others are spread evenly over the search.
    """
    shares = {one.parameter: one.importance for one in lesson.importances.items}
    names = list(lesson.distributions)
    axes = sorted(names, key=lambda name: -shares.get(name, 0.0))[:DIMENSIONS]
    places = [names.index(name) for name in axes]
    words = in_words(names)
    best = [number for number in _best(lesson.known, max(1, limit // 4)) if number in lesson.params]
    others = sorted(lesson.params.keys() - set(best))
    chosen = sorted({*best, *_evenly(others, limit - len(best))})
    return Parallel(
        metric=lesson.objective.metric,
        direction=lesson.objective.direction,
        total=len(lesson.known),
        shown=len(chosen),
        dimensions=[_dimension(name, words[name], lesson.distributions[name], shares.get(name)) for name in axes],
        items=[
            Line(
                trial=number,
                state=lesson.shown[number][0],
                score=lesson.shown[number][1],
                values=[lesson.params[number][place] for place in places],
            )
            for number in chosen
        ],
    )


def _learn(store: Store, job_id: str, before: Lesson | None) -> Lesson:
    """The lesson of a job; what `before` knows of its networks is not read again."""
    with store.read() as session:
        job = jobs.get(session, job_id)
        spec = spec_of(job)
        seen = studies.observed(session, job, spec)
        objective = in_order(spec.objectives)[0]
        known = prospects([observation for _, observation in seen])
        sample = [known[place].number for place in range(0, len(known), _step(len(known)))]
        wanted = {*sample, *_best(known, LINES // 4)}
        changing = spec.scheduler is not None and spec.scheduler.method == "pbt"  # a trial may become another one there
        params = (
            {} if before is None or changing else {one: before.params[one] for one in wanted & before.params.keys()}
        )
        found = studies.candidates(session, job_id, spec, sorted(wanted - params.keys()))
    space = spec.search_space()
    distributions = {name: one for name, one in space.distributions().items() if has_choice(one)}
    for number, candidate in found.items():
        if values := params_of(candidate, space):
            params[number] = tuple(_shared(values[name]) for name in distributions)
    shown = {}
    for state, observation in seen:
        if (at := standing(observation)) is not None:
            shown[observation.number] = str(state), objective.sign * at[1]
    rows = [(prospect, params[prospect.number]) for prospect in known if prospect.number in params]
    sampled = set(sample)
    rests_on = [(values, prospect.values[0]) for prospect, values in rows if prospect.number in sampled]
    whole = _importances(objective, distributions, rests_on, len(known))
    return Lesson(job.version, objective, distributions, known, shown, params, whole)


def _importances(
    objective: ObjectiveForm,
    distributions: Mapping[str, Distribution],
    rows: Sequence[tuple[tuple[Parameter, ...], float]],
    known: int,
) -> Importances:
    columns = dict(zip(distributions, zip(*(values for values, _ in rows), strict=True), strict=False))
    shares, note = importances(columns, [score for _, score in rows], distributions)
    if shares and len(rows) < known:
        note = f"from {len(rows):,} of the {known:,} trials with a score, spread evenly"
    words = in_words(distributions)
    items = [Importance(name=words[name], parameter=name, importance=share) for name, share in shares.items()]
    return Importances(metric=objective.metric, trials=len(rows), note=note, items=items)


def _dimension(name: str, text: str, found: Distribution, importance: float | None) -> Dimension:
    if isinstance(found, Categorical):
        range_: dict[str, Any] = {"kind": "category", "choices": list(found.choices), "log": False}
        range_ |= {"low": None, "high": None}
    else:
        range_ = {"kind": "number", "choices": None, "low": found.low, "high": found.high, "log": found.log}
    return Dimension(name=text, parameter=name, importance=importance, **range_)


def _best(known: Sequence[Prospect[None]], count: int) -> list[int]:
    """Numbers of the trials with the best values, of equals the earlier ones."""
    ranked = sorted(known, key=lambda prospect: (-prospect.values[0], prospect.number))
    return [prospect.number for prospect in ranked[:count]]


def _evenly(numbers: Sequence[int], count: int) -> list[int]:
    """So many of them at even distances, with the first one; all if there are fewer."""
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[place * len(numbers) // count] for place in range(count)]


def _step(count: int) -> int:
    """Every how manieth of so many trials makes up the sample; it doubles, so that most of the sample stays."""
    step = 1
    while count > step * SAMPLE:
        step *= 2
    return step


def _shared(value: Parameter) -> Parameter:
    """The same string for all trials that have it."""
    return sys.intern(value) if isinstance(value, str) else value
