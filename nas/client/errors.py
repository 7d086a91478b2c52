"""What a client raises, in the server's own words where it has said any."""

import httpx

from nas.errors import NasError


class ServiceError(NasError):
    """The service refused a request; the message is its own, and names what to mend."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same request may be answered a little later."""
        return self.status >= httpx.codes.INTERNAL_SERVER_ERROR or self.status == httpx.codes.TOO_MANY_REQUESTS


class NoService(NasError):  # noqa: N818 - named by what is wrong
    """Nothing answers at the URL: start the service, or name another URL."""


class NoPackage(NasError):  # noqa: N818
    """A Python package is missing here; the message says how to install it."""


def refusal(answer: httpx.Response) -> ServiceError:
    """The error that an answer stands for; its body has to be read already."""
    return ServiceError(answer.status_code, words(answer))


def silence(url: str, error: httpx.TransportError) -> NoService:
    """The error of a service that does not answer."""
    mend = "start one with `nas serve`, or name another with --url or Client(url)"
    return NoService(f"no service answers at {url} ({error}); {mend}")


def words(answer: httpx.Response) -> str:
    """What the service says in an answer that is an error."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        said = f"{answer.url.copy_with(query=None)} answers {answer.status_code} {answer.reason_phrase}"
        return f"{said}, and not in this service's words: look at the URL, and at any proxy before the service"
