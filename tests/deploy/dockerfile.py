"""The Dockerfile, read: its stages, and what each of them runs, copies and sets."""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name in capitals, and the rest of it on one line."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Stage:
    """What begins with a FROM.

    Attributes:
        name: behind AS; empty if there is none.
        base: an image, or an earlier stage.
        instructions: in order.
    """

    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> list[str]:
        """The values of the instructions of that name."""
        return [instruction.value for instruction in self.instructions if instruction.name == name]


def read(text: str) -> dict[str, Stage]:
    """The stages by name, in order; ARGs before the first FROM are filled in."""
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    name, base, found = "", "", list[Instruction]()
    for instruction in _instructions(text):
        if instruction.name == "ARG" and not base:
            key, _, value = instruction.value.partition("=")
            arguments[key] = value
        elif instruction.name == "FROM":
            if base:
                stages[name] = Stage(name, base, tuple(found))
            words = instruction.value.split()
            base, found = re.sub(r"\$\{?(\w+)\}?", lambda match: arguments[match[1]], words[0]), []
            name = words[2] if len(words) > 2 else f"stage {len(stages)}"
        else:
            found.append(instruction)
    stages[name] = Stage(name, base, tuple(found))
    return stages


def whole(stages: Mapping[str, Stage], name: str) -> list[Instruction]:
    """The instructions of a stage and of all that it is made from, from the first."""
    stage = stages[name]
    before = whole(stages, stage.base) if stage.base in stages else []
    return [*before, *stage.instructions]


def last(stages: Mapping[str, Stage], name: str, instruction: str) -> str | None:
    """The value of the last instruction of that name, also of what the stage is made from."""
    values = [found.value for found in whole(stages, name) if found.name == instruction]
    return values[-1] if values else None


def shell(value: str) -> str:
    """What a RUN hands to the shell: without its mounts."""
    return re.sub(r"^(--\w+=\S+\s+)+", "", value)


def command(value: str) -> list[str]:
    """The words of a CMD, or of a HEALTHCHECK's, in their exec form."""
    words: list[str] = json.loads(value[value.index("[") :])
    return words


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    split = [line.partition(" ") for line in joined.splitlines()]
    return [Instruction(name.upper(), value.strip()) for name, _, value in split]


def program(name: str) -> str | None:
    """The path of a program of the development environment, or of the machine; None if there is none."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
