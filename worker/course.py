"""What becomes of a trial after each of its epochs: it trains on, waits at a rung, or is stopped early."""

from dataclasses import dataclass
from datetime import UTC, datetime

from nas.search.pruning import Step
from nas.store import claims, trials
from nas.store.claims import Claim
from nas.store.states import Phase, Reason
from worker.context import Context
from worker.writer import Done


@dataclass(eq=False, slots=True)
class Course:
    """The course of a trial, epoch by epoch.

    Attributes:
        paused: whether it waits at a rung from now on.
        ended: why it was stopped early, if it was.
        stage: the epoch at which it is compared next.
        last: the last epoch of a search, which is written with the trial's end.
    """

    context: Context
    claim: Claim
    paused: bool = False
    ended: Reason | None = None
    stage: int = 0
    last: Done | None = None
    _epoch: int = 0

    def goes_on(self, epoch: int) -> bool:
        """Whether the trial, which has done that many epochs, trains on now."""
        context, claim = self.context, self.claim
        self.stage = self.stage or claim.stage
        if claim.phase != Phase.SEARCH or epoch >= claim.epochs:
            return True
        self._epoch = epoch
        if self.out_of_time() or context.search_is_over(claim.job_id):
            self.ended = Reason.BUDGET
            return False
        if epoch < self.stage:
            return True
        history = context.history(claim.job_id, claim.spec)
        match context.search(claim.job_id, claim.spec).pruner.after(claim.index, history, claim.epochs):
            case Step.PAUSE:
                self.paused = True
            case Step.STOP:
                self.ended = Reason.RUNG
            case Step.GO_ON:
                self.stage = claims.next_stage(claim.spec, claim.index, epoch)
                with context.store.write() as session:
                    trials.advance_stage(session, claim, self.stage)
                return True
        return False

    def out_of_time(self) -> bool:
        """Whether the time that the job has for its search is over; the first trial has time for an epoch anyway."""
        deadline = self.claim.deadline
        late = deadline is not None and datetime.now(UTC) >= deadline
        return (
            late
            and self.claim.phase == Phase.SEARCH
            and (self.claim.index > 0 or max(self._epoch, self.claim.epoch) > 0)
        )
