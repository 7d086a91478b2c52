"""An attempt at a trial that Tune has, and how the next one is chosen."""

from collections.abc import Callable
from dataclasses import dataclass, field

from nas.store.claims import Claim
from worker.context import Context
from worker.course import Course
from worker.finals import move_on
from worker.lease import Grip
from worker.spent import Spent
from worker.step import look, take


class NotShared(Exception):  # noqa: N818 - it says what is wrong
    """What a node has stored cannot be read here."""

    def __init__(self, place: str, sha256: str) -> None:
        super().__init__(
            f"{place} says that it has stored artifact {sha256}, which is not there: the nodes and the driver do not "
            "share NAS_ARTIFACTS_URL; set it to a folder or an object store that all of them reach"
        )


@dataclass(eq=False, slots=True)
class Attempt:
    """An attempt at a trial that Tune has.

    Attributes:
        claim: the trial; `grip` renews its lease.
        course: what becomes of it.
        since: when it was claimed, by time.monotonic.
        runs: whether an actor has it.
        place: the node, once it has told so.
        spent: what its time goes into.
    """

    claim: Claim
    grip: Grip
    course: Course
    since: float
    runs: bool = False
    place: str | None = None
    spent: Spent = field(default_factory=Spent)


def next_claim(context: Context, leaving: Callable[[], bool]) -> Claim | None:
    """What is to be done next in the driver's job, as a worker chooses it (worker.step.step); None: nothing now."""
    while not leaving():
        seen = look(context)
        settled = next((job.job_id for job in seen.ripe if not job.promotes), None)
        if (settled or seen.leftover) and move_on(context, settled):
            continue
        claim = take(context, seen)
        if claim is not None:
            return claim
        if not seen.ripe or not move_on(context, seen.ripe[0].job_id):
            break
    return None
