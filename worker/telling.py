"""What only the log of its trial tells, of each trial and epoch: too much for the log of the whole process."""

import logging
from typing import Final

from nas.store.claims import Claim
from nas.store.states import Phase, Reason
from nas.train.epoch import EpochResult
from worker.course import Course

DETAIL: Final = "worker.telling"
"""The logger, which worker.journal listens to."""

detail: Final = logging.getLogger(DETAIL)


def tell_epoch(claim: Claim, result: EpochResult) -> None:
    """Says what an epoch showed, and what it took."""
    detail.info(
        "epoch %d of %d: training loss %.4g, validation loss %.4g, score %.4f, learning rate %.3g, %.2f s",
        result.epoch,
        claim.epochs,
        result.train_loss,
        result.validation_loss,
        result.validation_accuracy,
        result.lr,
        result.seconds,
    )


def tell_end(claim: Claim, course: Course) -> None:
    """Says that a training has come to its end, or to a rung, and why."""
    if course.paused:
        detail.info("waits at its rung: it goes on if it is among the best there")
    elif course.ended == Reason.RUNG:
        detail.info("is stopped early: others were better after as many epochs")
    elif course.ended is not None:
        detail.info("is stopped early: the search has used up its budget, or has found what it was for")
    elif claim.phase == Phase.SEARCH:
        detail.info("is complete")
    else:
        detail.info("is complete, and its weights are stored")
