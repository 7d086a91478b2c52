"""The exception tree. A class says what its catcher must do; a message names the value at fault and the mend.

NasError
├── UserError            tell the user: the request, not the service, has to change
│   ├── InvalidInput         the field `field` has an impossible value; carries what is allowed
│   │   ├── Conflict             the name stands for something that has to stay: take another one
│   │   └── GenotypeError        a genotype that describes no network
│   ├── NotFound             nothing has that name or id
│   ├── NotReady             ask again later; the message says what it waits for
│   ├── IllegalTransition    the job or trial is in a state that does not allow this
│   ├── Unauthorized         no key, or one that is not valid: send a valid one
│   ├── Forbidden            the key's scope does not allow this: use another key
│   ├── TooMany              a limit is reached: try again after `retry_after_s` seconds
│   ├── TooLarge             more bytes than the owner may store: delete something first
│   └── SettingsError        an environment variable or flag has to change before the program can start
├── LeaseLost            another worker owns the trial now: stop, write nothing
├── Stopped              the worker was asked to stop: hand the trial back
├── SchemaDiffers        the database is of another version: migrate it, or upgrade the service; then start again
├── SpecUnreadable       a job asks for what is not known here, such as a plugin's operation: leave it to others
├── DatasetUnready       its content cannot be read now: give the trial back, try later
├── DiskFull             no space is left for a file: make room; the trial fails, nothing is half written
├── ArtifactsAway        the artifact store does not answer: hand the trial back, try again later
├── ArtifactDamaged      a stored file is missing, or not what was stored: restore it from a backup
├── Diverged             the loss is not finite: record the architecture as a bad one, go on
├── Infeasible           the candidate breaks a limit of the job and is recorded as such: do not train it
├── SpaceExhausted       every candidate has been tried: end the search with what there is
└── VerificationFailed   the exported model does not score what was reported: do not publish it
"""

import reprlib

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 12


def shorten(value: object) -> str:
    """A value as a message quotes it: enough to recognise it by, however large or deep it is."""
    return _SHORT.repr(value)


class NasError(Exception):
    """Base of everything this project raises on purpose."""


class UserError(NasError):
    """The request has to change; the message is meant for the person who made it."""


class InvalidInput(UserError):  # noqa: N818 - named by what is wrong, as in the tree above
    """A field has an impossible value.

    Args:
        field: where it stands, dotted, for example `space.cells`.
        value: what was given.
        mend: what is allowed, or how to mend it.
    """

    def __init__(self, field: str, value: object, mend: str) -> None:
        super().__init__(f"{field}: {shorten(value)} is not possible: {mend}")
        self.field = field
        self.value = value
        self.mend = mend


class Conflict(InvalidInput):
    """The name stands for something that has to stay as it is: take another one."""


class GenotypeError(InvalidInput):
    """A genotype that describes no network."""


class NotFound(UserError):  # noqa: N818
    """Nothing has that name or id."""


class NotReady(UserError):  # noqa: N818
    """What was asked for does not exist yet; the message says what it waits for."""


class IllegalTransition(UserError):  # noqa: N818
    """A job or trial cannot go from its state to the one asked for."""

    def __init__(self, what: str, state: str, to: str) -> None:
        super().__init__(f"{what} is {state}; it cannot become {to}")


class Unauthorized(UserError):  # noqa: N818
    """There is no key, or it is not valid."""


class Forbidden(UserError):  # noqa: N818
    """The key's scope does not allow this."""


class TooMany(UserError):  # noqa: N818
    """A limit is reached.

    Args:
        message: which one, and how to stay below it.
        retry_after_s: when it is worth trying again.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooLarge(UserError):  # noqa: N818
    """More bytes than the owner may store."""


class SettingsError(UserError):
    """A setting has to change before the program can start."""


class LeaseLost(NasError):  # noqa: N818
    """Another worker owns the trial now, or its job has ended. Stop, write nothing."""


class Stopped(NasError):  # noqa: N818
    """The worker was asked to stop. Hand the trial back."""


class SchemaDiffers(NasError):  # noqa: N818
    """The database's schema is not the one of this code; the message says how to bring the two together."""


class SpecUnreadable(NasError):  # noqa: N818
    """A job asks for something that this process does not know: leave it alone, others may know.

    Args:
        job_id: of the job.
        why: what is not known.
    """

    def __init__(self, job_id: str, why: str) -> None:
        mend = "what comes from a plugin is known where NAS_PLUGINS names its module"
        super().__init__(f"job {job_id} asks for something that is not known here ({why}); {mend}")
        self.job_id = job_id


class DatasetUnready(NasError):  # noqa: N818
    """The content of a data set cannot be read now; the message says why, and how to mend it."""


class DiskFull(NasError):  # noqa: N818
    """No space is left where a file was to be stored. Nothing of it is left behind."""


class ArtifactsAway(NasError, OSError):  # noqa: N818
    """The artifact store cannot be reached or used now; the message says why. Nothing is half written."""


class ArtifactDamaged(NasError):  # noqa: N818
    """A stored file is missing, or is not the one that was stored: restore it from a backup."""


class Diverged(NasError):  # noqa: N818
    """The loss stopped being finite."""

    def __init__(self, epoch: int, loss: float) -> None:
        super().__init__(f"the loss became {loss} in epoch {epoch}")
        self.epoch = epoch
        self.loss = loss


class Infeasible(NasError):  # noqa: N818
    """The candidate breaks a limit of its job. It is recorded as such, and never trained."""


class SpaceExhausted(NasError):  # noqa: N818
    """Every candidate that the search could find has been tried in this job."""


class VerificationFailed(NasError):  # noqa: N818
    """The exported model does not reproduce the score that was reported."""
