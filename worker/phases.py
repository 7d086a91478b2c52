"""What the trials of each phase do, in the three parts of worker.orders: a visible table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nas.store.claims import Claim
from nas.store.states import Phase
from worker import report, retrain, screening, supernet, train
from worker.context import Context
from worker.course import Course
from worker.orders import Machine, Order, Outcome


@dataclass(frozen=True, slots=True)
class Parts:
    """The three parts of a trial.

    Attributes:
        prepare: writes down what is to be done; None if the trial has ended with that, or waits.
        carry_out: does it, without the database.
        conclude: writes the end of a trial that was carried out, or that its course ended or pauses.
    """

    prepare: Callable[[Context, Claim], Order | None]
    carry_out: Callable[[Order, Machine], Outcome]
    conclude: Callable[[Context, Claim, Outcome, Course], None]


PARTS: Final[dict[Phase, Parts]] = {
    Phase.SCREENING: Parts(screening.prepare, screening.carry_out, screening.conclude),
    Phase.SUPERNET: Parts(supernet.prepare, supernet.carry_out, screening.conclude),
    Phase.SEARCH: Parts(train.prepare, train.carry_out, train.conclude),
    Phase.FINALIST: Parts(train.prepare, train.carry_out, train.conclude),
    Phase.CONTROL: Parts(train.prepare, train.carry_out, train.conclude),
    Phase.REFERENCE: Parts(train.prepare, train.carry_out, train.conclude),
    Phase.REPORT: Parts(report.prepare, report.carry_out, report.conclude),
    Phase.RETRAIN: Parts(retrain.prepare, retrain.carry_out, train.conclude),
}
"""Phase → what its trials do."""
