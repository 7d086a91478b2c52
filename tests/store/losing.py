"""The ways in which a worker loses a trial, and all that it may try to write after that."""

from collections.abc import Callable

from nas.store import control, phases, trials
from nas.store.claims import Claim
from nas.store.session import Store
from nas.store.states import Reason, TrialState
from tests.support import (
    digest,
    expire,
    finish,
    hand_back,
    propose,
    report,
    stored,
    take,
)

WRITES: dict[str, Callable[[Store, Claim], object]] = {
    "report": lambda store, lost: report(store, lost, 2, accuracy=0.99),
    "finish": finish,
    "finish with weights": lambda store, lost: finish(store, lost, weights=stored("weights")),
    "fail": lambda store, lost: finish(store, lost, TrialState.FAILED, reason=Reason.ERROR, error="broken"),
    "hand back": hand_back,
    "propose": lambda store, lost: propose(store, lost, 77),
    "attach": lambda store, lost: in_transaction(
        store, lambda session: trials.attach(session, lost, "weights", stored("weights"))
    ),
    "retry": lambda store, lost: in_transaction(
        store, lambda session: trials.retry(session, lost, Reason.ERROR, "broken")
    ),
    "succeed": lambda store, lost: in_transaction(
        store, lambda session: phases.succeed(session, lost, {}, stored("package"), digest(0))
    ),
    "drop": lambda store, lost: in_transaction(store, lambda session: phases.drop(session, lost, "exhausted")),
}


def in_transaction(store: Store, write: Callable[..., object]) -> object:
    with store.write() as session:
        return write(session)


def reaped(store: Store, lost: Claim) -> None:
    expire(store)
    assert trials.reap(store) == 1


def reaped_and_taken_by_another(store: Store, lost: Claim) -> None:
    reaped(store, lost)
    assert take(store, "bob").trial_id == lost.trial_id


def reaped_and_taken_again(store: Store, lost: Claim) -> None:
    reaped(store, lost)
    assert take(store, "ada").trial_id == lost.trial_id


def cancelled(store: Store, lost: Claim) -> None:
    in_transaction(store, lambda session: control.cancel(session, lost.job_id))


def handed_back(store: Store, lost: Claim) -> None:
    hand_back(store, lost)


def finished(store: Store, lost: Claim) -> None:
    finish(store, lost)
