"""Server-sent events as a client reads them (WHATWG HTML, "Server-sent events")."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


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
    reader = Reader()
    for line in lines:
        message = reader.take(line)
        if message is not None:
            yield message


@dataclass(slots=True)
class Reader:
    """Puts messages together from lines that come one after the other."""

    _event: str = "message"
    _id: str | None = None
    _data: list[str] = field(default_factory=list)

    def take(self, line: str) -> Message | None:
        """The message that ends with this line, if one does."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "" if not line:
                ended = Message(self._event, "\n".join(self._data), self._id)
                self._event, self._id, self._data = "message", None, []
                return ended
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id":
                self._id = value
        return None
