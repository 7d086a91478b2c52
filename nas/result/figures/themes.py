"""The colours of pictures, light and dark: those of the dashboard's pages."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours by what they mean. Every one that lines or words have stands out against `surface`."""

    surface: str
    ink: str
    muted: str
    line: str
    grid: str
    accent: str
    good: str
    bad: str
    faint: str


LIGHT: Final = Theme(
    surface="#ffffff",
    ink="#17202e",
    muted="#526072",
    line="#d5dae2",
    grid="#e3e7ed",
    accent="#1d4ed8",
    good="#0b6b43",
    bad="#b3261e",
    faint="#8593a6",
)
DARK: Final = Theme(
    surface="#171e28",
    ink="#e8edf4",
    muted="#a3b0c2",
    line="#334050",
    grid="#27323f",
    accent="#8db0ff",
    good="#6ed8a5",
    bad="#ff9d94",
    faint="#76849a",
)
THEMES: Final = {"light": LIGHT, "dark": DARK}
