"""A search with simulated workers and a simulated clock.

What a job's workers call is called here too: the same strategies, the same `proposals`, the same pruners. Only the
training is replaced, by an objective that says what it would have given.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, NamedTuple, TypeAlias

import numpy as np

from nas.errors import Infeasible, InvalidInput, SpaceExhausted
from nas.search.proposing import proposals, stubborn
from nas.search.pruning import Pruner, Step, held_back
from nas.search.simulation import Budget, Improvement, Simulation
from nas.search.strategy import C, Observation, Strategy
from nas.space import Space

Objective: TypeAlias = Callable[[Any, int], Any]
"""(candidate, epochs) → (score, seconds); see nas.search.simulate."""

FAILURES: Final = 10
"""Objectives that may raise in a row, as trials of a job may fail: after that the objective itself is at fault."""


class Answer(NamedTuple):
    """Of an objective: the scores, or None of a training that fails, and what it takes."""

    values: tuple[float, ...] | None
    seconds: float


@dataclass(order=True, slots=True)
class Stage:
    """A worker's task: training a trial from one epoch to another. Ordered by when it ends, then by when it began."""

    ends_s: float
    order: int
    number: int = field(compare=False)
    epochs: int = field(compare=False)
    seconds: float = field(compare=False)
    values: tuple[float, ...] | None = field(compare=False)


@dataclass(slots=True)
class Run(Generic[C]):
    """A search under way: what it was given, and everything that changes."""

    strategy: Strategy
    space: Space[C]
    objective: Objective
    budget: Budget
    whole: int
    pruner: Pruner
    starts: tuple[C, ...]
    workers: int
    seed: int
    history: list[Observation[C]] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    running: list[Stage] = field(default_factory=list)
    trajectory: list[Improvement[C]] = field(default_factory=list)
    paid_s: dict[int, float] = field(default_factory=dict)
    clock_s: float = 0.0
    busy_s: float = 0.0
    done: int = 0
    promised: int = 0
    begun: int = 0
    objectives: int = 0
    failures: int = 0
    exhausted: bool = False
    over: bool = False

    def result(self) -> Simulation[C]:
        """Runs to the end."""
        while not self.over:
            while len(self.running) < self.workers and self._begin():
                pass
            if not self.running:
                break
            self._end(heapq.heappop(self.running))
        best = self.trajectory[-1] if self.trajectory else None
        return Simulation(
            tuple(self.history),
            best.candidate if best else None,
            best.score if best else None,
            self._spent(),
            self.clock_s,
            tuple(self.trajectory),
            self.busy_s,
        )

    def _begin(self) -> bool:
        """Gives a free worker a promoted trial, else a new one, else whatever trains the best one to the end."""
        number = self.pruner.promote(self.history, self.whole, closing=False)
        begun = self._add() if number is None else self._go_on(number)
        if begun or self.running:
            return begun
        number = self.pruner.promote(self.history, self.whole, closing=True)
        return number is not None and self._go_on(number)

    def _add(self) -> bool:
        """Adds a trial, if there is one and it fits into the budget; one that breaks a limit is recorded at once."""
        number = len(self.history)
        reached = self.pruner.stages(number, self.whole)[0]
        full = self.budget.trials is not None and number >= self.budget.trials
        if self.exhausted or full or not self._affords(0, reached):
            return False
        for candidate in self._proposals(number):
            digest = self.space.digest(candidate)
            if digest in self.taken:
                continue
            self.taken.add(digest)
            try:
                answer = self._ask(candidate, reached)
            except Infeasible:
                if stubborn(self.history):
                    continue
                self.history.append(Observation(number, candidate, True, False, 0, None, infeasible=True))
                return True
            if not self._in_time(answer.seconds):
                return False
            self.history.append(Observation(number, candidate, False, False, 0, None))
            self._start(number, reached, answer)
            return True
        self.exhausted = True
        return False

    def _proposals(self, number: int) -> Iterator[C]:
        """As in a job, until the strategy has nothing more to propose."""
        with suppress(SpaceExhausted):
            yield from proposals(
                self.strategy, self.space, self.history, number=number, seed=self.seed, starts=self.starts
            )

    def _go_on(self, number: int) -> bool:
        """Trains a trial to the end of its next stage, if that fits into the budget."""
        observation = self.history[number]
        reached = next(stage for stage in self.pruner.stages(number, self.whole) if stage > observation.epoch)
        if not self._affords(observation.epoch, reached):
            return False
        try:
            answer = self._ask(observation.candidate, reached)
        except Infeasible:
            answer = Answer(None, 0.0)
        seconds = max(0.0, answer.seconds - self.paid_s[number])
        if not self._in_time(seconds):
            return False
        self.history[number] = replace(observation, paused=False)
        self._start(number, reached, Answer(answer.values, seconds))
        return True

    def _start(self, number: int, reached: int, answer: Answer) -> None:
        """Puts a worker to training a trial; `answer` says what that takes and what will come of it."""
        before = self.history[number].epoch
        self.promised += self._promise(before, reached)
        self.paid_s[number] = self.paid_s.get(number, 0.0) + answer.seconds
        self.begun += 1
        ends_s = self.clock_s + answer.seconds
        stage = Stage(ends_s, self.begun, number, reached - before, answer.seconds, answer.values)
        heapq.heappush(self.running, stage)

    def _end(self, stage: Stage) -> None:
        """A worker has trained a trial to the end of a stage: what becomes of it."""
        self.clock_s = stage.ends_s
        self.busy_s += stage.seconds
        self.done += stage.epochs
        number = stage.number
        before = self.history[number]
        epoch = before.epoch + stage.epochs
        if stage.values is None:
            self.history[number] = replace(before, finished=True, epoch=epoch, score=None)
        elif epoch >= self.whole:
            score, *others = stage.values
            self.history[number] = replace(
                before, finished=True, complete=True, epoch=epoch, score=score, others=tuple(others)
            )
            self._compare(self.history[number].candidate, score)
        else:
            self._compare_at_rung(before, epoch, *stage.values)
        if self.history[number].finished and not self.pruner.annealed:
            self.promised -= self.whole - epoch

    def _compare_at_rung(self, before: Observation[C], epoch: int, score: float, *others: float) -> None:
        number = before.number
        there = replace(before, epoch=epoch, score=score, others=tuple(others), rungs=(*before.rungs, (epoch, score)))
        self.history[number] = there
        step = self.pruner.after(number, self.history, self.whole)
        if step == Step.STOP:
            self.history[number] = replace(there, finished=True)
        elif step == Step.PAUSE or not self._go_on(number):
            self.history[number] = replace(there, paused=True)

    def _compare(self, candidate: C, score: float) -> None:
        """A trial is fully trained: whether it is the best one so far, and good enough."""
        if not self.trajectory or score > self.trajectory[-1].score:
            self.trajectory.append(Improvement(self._spent(), self.clock_s, score, candidate))
        self.over = self.budget.target is not None and score >= self.budget.target

    def _ask(self, candidate: C, epochs: int) -> Answer:
        """What the objective says. Raises Infeasible, and what it raises time and again."""
        try:
            said = self.objective(candidate, epochs)
        except Infeasible:
            raise
        except Exception:
            self.failures += 1
            if self.failures >= FAILURES:
                raise
            return Answer(None, 0.0)
        self.failures = 0
        answer = _read(said, epochs)
        if answer.values is not None:
            self.objectives = self.objectives or len(answer.values)
            if len(answer.values) != self.objectives:
                raise InvalidInput("objective", answer.values, f"it gave {self.objectives} scores before")
        if answer.seconds == 0 and self.budget.trials is None and self.budget.total_epochs is None:
            raise InvalidInput("objective", said, "a budget of seconds alone needs trainings that take some")
        return answer

    def _promise(self, before: int, reached: int) -> int:
        """Epochs that a trial's next stage takes out of the budget.

        A trial that is never paused has its whole training promised as it begins: nobody would take up the rest.
        """
        if self.pruner.annealed:
            return reached - before
        return self.whole if before == 0 else 0

    def _affords(self, before: int, reached: int) -> bool:
        """Whether the budget has room for a trial's next stage, and then still for training one to the end."""
        held = min(held_back(self.history, self.whole), self.whole - reached) if self.pruner.annealed else 0
        epochs = self._promise(before, reached) + held
        total = self.budget.total_epochs
        if total is not None and self.promised + epochs > total:
            return False
        return self._in_time(epochs * self.busy_s / self.done if self.done else 0.0)

    def _in_time(self, seconds: float) -> bool:
        return self.budget.seconds is None or self.clock_s + seconds <= self.budget.seconds

    def _spent(self) -> int:
        """Epochs that were trained until now, begun ones included."""
        parts = [
            stage.epochs * (1 - (stage.ends_s - self.clock_s) / stage.seconds)
            for stage in self.running
            if stage.seconds > 0
        ]
        return self.done + math.ceil(sum(parts))


def _read(said: Any, epochs: int) -> Answer:
    """An objective's answer: (score or scores, seconds), or the score alone."""
    score, seconds = said if isinstance(said, tuple) and len(said) == 2 else (said, epochs)
    try:
        seconds = float(seconds)
        values = None if score is None else tuple(float(value) for value in np.atleast_1d(score))
    except (TypeError, ValueError) as error:
        raise InvalidInput("objective", said, "it has to return (score, seconds)") from error
    if not (math.isfinite(seconds) and seconds >= 0):
        raise InvalidInput("objective", said, "the seconds have to be a number, at least 0")
    return Answer(values if values and all(map(math.isfinite, values)) else None, seconds)
