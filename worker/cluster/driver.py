"""A worker drives a job on a Ray cluster: it alone knows the database, and the nodes train.

One `tune.Tuner` runs for all that is left of a job, whatever its phase. Each of Tune's trials is one attempt at one of
ours: what is to be done next is chosen as a worker chooses it (worker.step), prepared here, carried out on a node, and
concluded here (worker.orders). A driver keeps nothing that is not in the rows, so that any worker can follow it.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from sqlalchemy.exc import SQLAlchemyError

from nas.errors import DatasetUnready, DiskFull, SpecUnreadable, Stopped
from nas.store import drivers, jobs
from nas.store.specs import spec_of
from worker.cluster.deaths import NodeLost
from worker.cluster.groups import clear, drive_name
from worker.cluster.holding import Holding
from worker.cluster.joining import ClusterAway, joined
from worker.cluster.schedulers import scheduler_of
from worker.cluster.searcher import Actors, InOrder, Over, RowSearcher, RowStopper
from worker.cluster.shelf import shelf
from worker.cluster.slots import Slots
from worker.cluster.trainable import Kit, Node
from worker.cluster.under_way import UnderWay
from worker.context import Context

log = logging.getLogger(__name__)

CRASHES: Final = 3
"""So often in a row Tune itself may fail before the driver gives the job up."""

REST_S: Final = 30.0
"""A job that cannot be driven now is left alone for so long by a worker, which serves the others meanwhile."""

_driving: Final = threading.Lock()
"""A process is in one Ray cluster at a time."""

_rests: Final[dict[str, float]] = {}
"""Job → when this process tries again to drive it, by time.monotonic."""


def drive(context: Context, job_id: str) -> bool:
    """Drives a job on Ray until it has ended or is paused, another worker drives it, or this one is asked to stop.

    Returns:
        False if nothing was done: another one drives it, or the cluster or the data set is away.

    Raises:
        OperationalError, InterfaceError: the database is away.
    """
    if time.monotonic() < _rests.get(job_id, 0.0) or not _driving.acquire(blocking=False):
        return False
    try:
        return _take_and_drive(context, job_id)
    finally:
        _driving.release()


def _take_and_drive(context: Context, job_id: str) -> bool:
    lease_s = context.settings.lease_s
    with context.store.write() as session:
        term = drivers.take(session, job_id, context.worker, lease_s)
    if term is None:
        return False
    log.info("job %s: driven on Ray from now on, as its driver %d", job_id, term)
    try:
        with (
            Holding(context.store, job_id, context.worker, term, lease_s) as holding,
            joined(context.settings.ray_address, context.cores),
        ):
            _drive(context, job_id, term, holding)
    except (ClusterAway, DatasetUnready, DiskFull, SpecUnreadable) as error:
        log.warning("job %s waits: %s", job_id, error)
        _rests[job_id] = time.monotonic() + REST_S
        _release(context, job_id, term)
        return False
    except SQLAlchemyError:
        raise  # the lease runs out, and then the trials are queued again
    except Exception:  # so does it here; whatever it was, it counts as a driver that was lost
        log.exception("job %s cannot be driven", job_id)
        _rests[job_id] = time.monotonic() + REST_S
    else:
        _release(context, job_id, term)
    return True


def _release(context: Context, job_id: str, term: int) -> None:
    with context.store.write() as session:
        drivers.release_job(session, job_id, context.worker, term)


def _drive(context: Context, job_id: str, term: int, holding: Holding) -> None:
    """Runs Tune in the cluster until there is no more to be done; if Tune fails, it begins anew."""
    settings = context.settings
    with context.store.read() as session:
        job = jobs.get(session, job_id)
        spec, dataset_id = spec_of(job), job.dataset_id
    url = settings.artifacts_url
    kit = Kit(url if "://" in url else str(Path(url).absolute()), settings.plugins, settings.log, settings.log_format)
    node = tune.with_parameters(Node, kit=kit, data=context.data(dataset_id))  # each node gets one copy of them
    clear(job_id, term)
    crashes = 0
    with shelf(kit.artifacts_url, job_id, term) as kept:
        while crashes < CRASHES:
            slots = Slots(spec)
            mine = replace(context, driving=job_id, measurer=slots.measure, grip=context.grip.beside())
            under_way = UnderWay(mine, holding, slots, drive_name(job_id, term))
            why: Exception = Stopped()
            try:
                _tuner(under_way, node, kept, scheduler_of(mine, job_id, spec)).fit()
            except Over:
                log.info("job %s: nothing more is to be done on Ray", job_id)
            except Exception as error:  # Tune's own, or Ray's
                log.warning("job %s: Ray Tune failed", job_id, exc_info=error)
                why = NodeLost("Ray Tune failed on the way")
            under_way.leave(why)
            mine.grip.close()
            if under_way.failure is not None:
                raise under_way.failure
            if under_way.no_room:  # other jobs are to have their turn
                _rests[job_id] = time.monotonic() + REST_S
            if isinstance(why, Stopped):
                return
            crashes = 0 if under_way.ended_well else crashes + 1
    raise RuntimeError(f"Ray Tune failed {CRASHES} times in a row")


def _tuner(under_way: UnderWay, node: Callable[..., Any], kept: dict[str, Any], scheduler: Any) -> Tuner:
    return Tuner(
        node,
        tune_config=TuneConfig(
            search_alg=RowSearcher(under_way),
            scheduler=scheduler or InOrder(),  # type: ignore[no-untyped-call]  # Ray's
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=str,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=RunConfig(
            **kept,
            stop=RowStopper(under_way),
            callbacks=[Actors(under_way)],
            verbose=0,
            failure_config=FailureConfig(max_failures=0),  # what is tried again is claimed again
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
        ),
    )
