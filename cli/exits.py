"""The exit statuses of `nas`, for scripts: what each says, and which error ends in which."""

from typing import Final

EXITS: Final = {
    0: "done",
    1: "the job failed or was cancelled, a check found a problem, or the service, a disk or a stored file is at fault",
    2: "wrong use: a command, an option, a value, a file or a setting has to change",
    3: "no service answers",
    4: "not found: no job, trial or data set has that name",
    5: "refused: no API key, one that is not valid, or one that may not do this",
    6: "not now: the state of the job does not allow it, there is no model yet, or a limit is reached",
    130: "interrupted with Ctrl-C; a job of a running service goes on",
}
"""Status → what it says."""

BY_ERROR: Final = {
    "NoService": 3,
    "NotFound": 4,
    "Unauthorized": 5,
    "Forbidden": 5,
    "NotReady": 6,
    "IllegalTransition": 6,
    "TooMany": 6,
    "VerificationFailed": 1,
    "ArtifactDamaged": 1,
    "DatasetUnready": 1,
    "DiskFull": 1,
    "ArtifactsAway": 1,
}
"""Class of nas.errors and nas.client → status. Every other error of the project is one that a person can mend: 2."""

BY_ANSWER: Final = {401: 5, 403: 5, 404: 4, 409: 6, 429: 6}
"""HTTP status of a refusal → status; others below 500 are 2, and from there on 1."""

WRONG_USE: Final = 2


def status_of(error: BaseException) -> int | None:
    """The status that an error ends in; None for one that is a fault of the program."""
    from nas.client import ServiceError  # httpx: commands that need no service do not load it
    from nas.errors import NasError

    if hasattr(error, "format_message"):  # typer's: there is no such command, or an option takes no such value
        return WRONG_USE
    if isinstance(error, ServiceError):
        if error.passing and error.status not in BY_ANSWER:
            return 1
        return BY_ANSWER.get(error.status, WRONG_USE)
    if isinstance(error, NasError):
        return next((BY_ERROR[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in BY_ERROR), WRONG_USE)
    return WRONG_USE if isinstance(error, OSError) and error.filename is not None else None


def message_of(error: BaseException) -> str:
    """What is said of it: its own words; of a file that cannot be used its name, and why."""
    if (typers := getattr(error, "format_message", None)) is not None:
        return str(typers())
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
