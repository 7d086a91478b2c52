"""Server-sent events as a client reads them (WHATWG HTML, "Server-sent events")."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        event: its name.
        data: empty if it only says where the stream is, or keeps the connection.
        id: where to go on after it; None if it does not say.
    """

    event: str
    data: str
    id: str | None


def messages(lines: Iterable[str]) -> Iterator[Message]:
    """The messages in the lines of a stream; one that was cut off is left out."""
    event, found = "message", None
    data: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "" if not line:
                yield Message(event, "\n".join(data), found)
                event, data, found = "message", [], None
            case "event":
                event = value
            case "data":
                data.append(value)
            case "id":
                found = value
