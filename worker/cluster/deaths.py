"""What the failure of an actor, of its process or of its node means for the trial that it had."""

from typing import Final

from worker.cluster.trainable import FailedOnNode

RAISED: Final = ("ray::", "raised in its creation task")
"""How Ray begins to tell what an actor raised itself: there is a traceback in it."""

NODE_GONE: Final = ("node has died", "node died", "node was terminated", "node was preempted", "unavailable")
"""What Ray says of an actor whose node went away, in the many places where it says so."""

DEAD: Final = "The actor is dead because "
"""How Ray begins to tell why, where it knows."""

NO_MEMORY: Final = ("memory pressure", "low on memory", "OutOfMemoryError")
"""What Ray says of an actor that it has killed so that its node does not run out of memory."""


class NodeLost(Exception):  # noqa: N818 - it says what was lost
    """The node or the process went away under a trial: it is tried again elsewhere, as often as is sensible."""


def meaning(text: str) -> Exception:
    """What the failure of an actor means, by what Ray says of it: NodeLost, MemoryError, or FailedOnNode with the text.

    A node that dies takes its trials with it without their fault: machines that may be taken away at any time are
    cheap. A process that dies alone may have been killed by what it ran (a user's operation that crashes), or by an
    administrator: nobody knows. Both are tried again, and both are counted (nas.store.drivers.lose_node).
    """
    if any(words in text for words in NO_MEMORY):
        line = next(line for line in text.splitlines() if any(words in line for words in NO_MEMORY))
        return MemoryError(f"Ray has ended it, since its node had no memory left: {line.strip()}")
    if any(words in text for words in RAISED):
        return FailedOnNode(text)
    if any(words in text for words in NODE_GONE):
        return NodeLost("its node was lost")
    why = next((line.strip() for line in text.splitlines() if line.startswith(DEAD)), "")
    return NodeLost(f"its process on the node died: {why}" if why else "its process on the node died")
