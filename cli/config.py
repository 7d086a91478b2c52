"""Config files of `nas search`: a job as YAML, JSON or TOML, and where in the file each field stands."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

ENDINGS: Final = (".yaml", ".yml", ".json", ".toml")

_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?")
_TOML_TABLE = re.compile(r"\s*\[\[?\s*([\w.\"'-]+)\s*\]\]?\s*(#.*)?$")
_TOML_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")


@dataclass(frozen=True, slots=True)
class Config:
    """A config file.

    Attributes:
        path: of it.
        spec: the job that it asks for.
        lines: dotted name of a field → the line that it stands on, from 1.
    """

    path: Path
    spec: dict[str, Any]
    lines: Mapping[str, int]

    def place(self, message: str) -> str | None:
        """`job.yaml:7`, if a message begins with a field that the file has; the innermost part of it that it has."""
        named = re.match(r"[\w.\[\]-]+", message)
        parts = re.split(r"[.\[\]]+", named[0]) if named else []
        for end in range(len(parts), 0, -1):
            line = self.lines.get(".".join(parts[:end]))
            if line is not None:
                return f"{self.path}:{line}"
        return None


def is_config(text: str) -> bool:
    """Whether an argument names a config file and no data set."""
    return text.lower().endswith(ENDINGS)


def read(path: Path) -> Config:
    """What a file asks for. Raises InvalidInput, with the line, for one that is not what its ending says; OSError."""
    from nas.errors import InvalidInput

    text = _text(path)
    readers = {".json": _read_json, ".toml": _read_toml}
    spec, lines = readers.get(path.suffix.lower(), _read_yaml)(path, text)
    if not isinstance(spec, dict):
        raise InvalidInput("config", str(path), "it has to be a mapping of fields, such as `dataset: digits`")
    return Config(path, spec, lines)


def _text(path: Path) -> str:
    from nas.errors import InvalidInput

    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        mend = "there is no such file; `nas search --example > job.yaml` writes one"
        raise InvalidInput("config", str(path), mend) from error
    except UnicodeDecodeError as error:
        raise InvalidInput("config", str(path), f"it has to be UTF-8 text ({error.reason})") from error


def _refuse(path: Path, line: int, problem: str) -> NoReturn:
    from nas.errors import InvalidInput

    raise InvalidInput("config", f"{path}:{line}", problem)


def _read_json(path: Path, text: str) -> tuple[Any, dict[str, int]]:
    from nas.errors import InvalidInput

    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice.extend(name for index, name in enumerate(names) if name in names[:index])
        return dict(pairs)

    try:
        spec = json.loads(
            text, parse_constant=lambda word: _refuse(path, 1, f"{word} is no JSON"), object_pairs_hook=unique
        )
    except json.JSONDecodeError as error:
        _refuse(path, error.lineno, error.msg)
    try:
        return spec, _read_yaml(path, text.replace("\t", " "))[1]  # JSON is YAML, but for its tabs
    except InvalidInput:  # the lines are a help; without them the field alone is named
        if twice:
            raise
        return spec, {}


def _read_toml(path: Path, text: str) -> tuple[Any, dict[str, int]]:
    try:
        spec = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        _refuse(path, int(found[1]) if found else text.count("\n") + 1, str(error))
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if head := _TOML_TABLE.match(line):
            table = f"{_bare(head[1])}."
            lines.setdefault(table[:-1], number)
        elif key := _TOML_KEY.match(line):
            lines.setdefault(table + _bare(key[1]), number)
    return spec, lines


def _bare(name: str) -> str:
    return name.replace('"', "").replace("'", "")


def _read_yaml(path: Path, text: str) -> tuple[Any, dict[str, int]]:
    """YAML whose plain words are what JSON knows: 1e-3 is a number, and a day is text."""
    import yaml  # type: ignore[import-untyped]

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
        """SafeLoader with numbers as JSON has them, and without dates."""

    Loader.yaml_implicit_resolvers = {
        first: [entry for entry in entries if not entry[0].endswith((":timestamp", ":float"))]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(f"^(?:{_FLOAT.pattern})$"), list("-+.0123456789")
    )
    loader = Loader(text)
    lines: dict[str, int] = {}
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, lines
        _mark(path, node, "", lines)
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _refuse(path, mark.line + 1 if mark else 1, str(error.problem or error.context))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        _refuse(path, 1, str(error).splitlines()[0])
    finally:
        loader.dispose()


def _mark(path: Path, node: Any, prefix: str, lines: dict[str, int]) -> None:
    """Notes the line of every field below a node. A field that stands there twice is refused: one of them is lost."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[f"{prefix}{index}"] = item.start_mark.line + 1
            _mark(path, item, f"{prefix}{index}.", lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if name in lines:
                _refuse(path, key.start_mark.line + 1, f"{name} stands there twice, first on line {lines[name]}")
            lines[name] = key.start_mark.line + 1
            _mark(path, value, f"{name}.", lines)
