"""How a trial ends that raised something: by which policy, and with what is left of it in memory."""

import gc
import logging
import time
import traceback
from typing import Final

import torch
from sqlalchemy.exc import DBAPIError, InterfaceError, NoResultFound, OperationalError

from nas.errors import (
    ArtifactsAway,
    DatasetUnready,
    Diverged,
    Infeasible,
    LeaseLost,
    NotFound,
    SpaceExhausted,
    Stopped,
)
from nas.store import phases, setbacks
from nas.store.claims import Claim
from nas.store.states import Reason
from nas.train.graphs import CAPTURING
from worker.context import Context, is_full
from worker.telling import detail

log = logging.getLogger(__name__)

REST_S: Final = 5.0
"""How long a worker waits before it takes a trial again, where what it needs for any of them is away or full."""

SAY_NO_MEMORY: Final = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
)
"""What errors say that are no torch.OutOfMemoryError, and mean the same."""


def settle(context: Context, claim: Claim, error: Exception) -> None:
    """Records why a trial ended, or hands it back where that is no fault of its own, and frees its memory.

    Raises:
        OperationalError, InterfaceError: the database is away.
    """
    _rest(context, recorded(context, claim, error))


def recorded(context: Context, claim: Claim, error: Exception) -> float:
    """What settle does, but for the rest: how long not to take another trial, in seconds.

    Raises:
        OperationalError, InterfaceError: the database is away.
    """
    try:
        return _record(context, claim, error)
    except LeaseLost as lost:
        log.warning("%s; nothing is written", lost)
        return 0.0
    finally:
        free_memory(context.device, error)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the machine, has no memory left; libraries say it in many ways."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in SAY_NO_MEMORY)


def free_memory(device: torch.device, error: BaseException) -> None:
    """Gives back what a trial that raised holds of the device: its frames refer to the network and its gradients."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    if device.type != "cuda" and not is_out_of_memory(error):
        return
    gc.collect()
    if device.type == "cuda":
        with CAPTURING:  # torch stops where memory is given back in the middle of a capture
            torch.cuda.empty_cache()


def _record(context: Context, claim: Claim, error: Exception) -> float:
    """Writes what an error means for the trial; how long the worker waits then, in seconds. Raises LeaseLost."""
    match error:
        case LeaseLost():
            raise error
        case NotFound() | NoResultFound():
            raise LeaseLost(f"job {claim.job_id} was deleted") from error
        case Stopped() if context.grip.lost:
            log.warning("trial %d of job %s was taken away; nothing is written", claim.number, claim.job_id)
        case Stopped():
            _end(context, claim, Reason.PREEMPTED, "its worker was stopped")
        case SpaceExhausted():
            with context.store.write() as session:
                phases.drop(session, claim, str(error))
        case Infeasible():  # it is recorded already
            log.info("job %s trial %d is not trained: %s", claim.job_id, claim.number, error)
        case Diverged():
            _end(context, claim, Reason.DIVERGED, str(error))
        case _ if is_out_of_memory(error):
            why = str(error) or "there is not enough memory"
            _end(context, claim, Reason.OUT_OF_MEMORY, why, shared=context.seat.shared)
        case OperationalError() | InterfaceError():
            _hand_back_later(context, claim, error)
        case DatasetUnready():
            log.warning("job %s trial %d waits: %s", claim.job_id, claim.number, error)
            with context.store.write() as session:
                setbacks.put_back(session, claim)
        case ArtifactsAway():
            _end(context, claim, Reason.PREEMPTED, str(error))
            return REST_S
        case _ if is_full(error):
            _end(context, claim, Reason.DISK_FULL, str(error))
            return REST_S
        case _:  # whatever else a trial raises is recorded with it, and the search goes on
            log.error("job %s trial %d failed", claim.job_id, claim.number, exc_info=error)
            _end(context, claim, Reason.ERROR, "".join(traceback.format_exception(error)))
    return 0.0


def _end(context: Context, claim: Claim, reason: Reason, error: str, *, shared: bool = False) -> None:
    follows = setbacks.follows(claim, reason, shared=shared)
    log.info("job %s trial %d: %s; %s", claim.job_id, claim.number, reason, follows)
    if reason != Reason.ERROR:  # which is in the log already, with all that led to it
        detail.info("%s", error)
    context.write_log()  # before others can take it
    with context.store.write() as session:
        spent = context.spent.so_far()
        checkpoint = setbacks.record(session, claim, reason, error, shared=shared, spent=spent)
    if checkpoint:
        context.artifacts.delete(checkpoint)


def _hand_back_later(context: Context, claim: Claim, error: DBAPIError) -> None:
    """Hands a trial back once the database answers again, or its lease would run out, and that counts against it.

    Raises:
        OperationalError, InterfaceError: it does not answer within a lease.
    """
    log.warning("the database does not answer (%s); trial %d is handed back when it does", error.orig, claim.number)
    until = time.monotonic() + context.settings.lease_s
    while True:
        try:
            return _end(context, claim, Reason.PREEMPTED, "the database did not answer")
        except (OperationalError, InterfaceError):
            if context.stopping() or time.monotonic() >= until:
                raise
        _rest(context, min(1.0, REST_S))


def _rest(context: Context, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not context.stopping():
        time.sleep(min(0.1, seconds))
