"""What `nas doctor` finds."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """What a finding means for the service."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one thing, and how to mend it; where all is well there is no mend."""

    about: str
    status: Status
    text: str
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `nas doctor --json` prints it."""
        return asdict(self)
