"""Writes the reference of what Python programs use, from signatures and docstrings."""

import inspect
import re
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, Final

SECTION: Final = re.compile(r"^(Args|Attributes|Returns|Raises):\n((?:(?: .*)?\n)*)", re.MULTILINE)
TITLES: Final = {"Args": "", "Attributes": "", "Returns": "Returns ", "Raises": "Raises "}
WIDTH: Final = 76
"""Characters of a signature on one line."""


def client() -> str:
    """The client, and what else `nas` offers to a program."""
    import nas
    from nas import client as package
    from nas.result.package import Classifier
    from nas.search import simulate
    from nas.search.strategy import Observation

    lines = [
        "# Python client",
        "",
        "For programs and notebooks: a client of a running service, and the models that it hands out. What the service "
        "refuses is raised as `ServiceError`, in its own words.",
        "",
        "```python",
        *inspect.cleandoc(package.__doc__ or "").splitlines()[2:],
        "```",
        "",
        "`AsyncClient` and `AsyncJob` have the same methods, to be awaited:",
        "",
        "```python",
        "async with nas.AsyncClient() as client:",
        '    job = await client.search(dataset="digits")',
        "    await job.watch()",
        "```",
    ]
    for found in (package.Client, package.Job, package.Best, package.Figure, package.Jobs):
        lines += ["", *_class(found)]
    for found in (package.AsyncClient, package.AsyncJob):
        lines += ["", *_briefly(found)]
    lines += ["", "## Errors", "", "All of them are `nas.errors.NasError`.", ""]
    for error in (package.ServiceError, package.NoService, package.NoPackage):
        lines.append(f"- `nas.client.{error.__name__}`: {' '.join((error.__doc__ or '').split())}")
    lines += ["", "## Models"]
    for function in (nas.load, nas.build, nas.published, nas.use):
        lines += ["", *_function(f"nas.{function.__name__}", function)]
    lines += ["", *_class(Classifier, ("predict", "export_onnx", "export_torch"))]
    lines += ["", "## Strategies", "", *_function("nas.search.simulate", simulate), "", *_class(Observation)]
    return "\n".join(lines) + "\n"


def entries(docstring: str, section: str) -> list[tuple[str, str]]:
    """What a section of a docstring explains: names, separated by commas, and what it says of them."""
    texts = dict(SECTION.findall(inspect.cleandoc(docstring) + "\n"))
    found = re.findall(r"^    ([\w., ]+?): (.*(?:\n     +.*)*)", texts.get(section, ""), re.MULTILINE)
    return [(names, " ".join(text.split())) for names, text in found]


def _class(found: type, names: tuple[str, ...] = ()) -> Iterator[str]:
    yield from (f"## {found.__name__} {{#{found.__name__.lower()}}}", "", *_docstring(found.__doc__ or ""))
    for above in found.__mro__[1:]:
        if above.__module__.startswith("nas."):
            yield from _list("", entries(above.__doc__ or "", "Attributes"))
    for name, member in _members(found):
        if names and name not in names:
            continue
        yield ""
        if isinstance(member, property):
            yield from (f"### {found.__name__}.{name}", "", f"A property. {_first(member.__doc__)}")
        else:
            yield from _function(f"{found.__name__}.{name}", member)


def _briefly(found: type) -> Iterator[str]:
    """A class whose methods are explained at another one's."""
    yield from (f"## {found.__name__} {{#{found.__name__.lower()}}}", "", *_docstring(found.__doc__ or ""), "")
    yield from ("| method | what it does |", "| --- | --- |")
    for name, member in _members(found):
        kind = "" if isinstance(member, property) else "()"
        awaited = "await " if inspect.iscoroutinefunction(member) else ""
        yield f"| `{awaited}{name}{kind}` | {_first(member.__doc__)} |"


def _members(found: type) -> list[tuple[str, Any]]:
    """Public methods and properties of ours that say what they do, in the order of the source."""
    ours = [part for part in reversed(found.__mro__) if part.__module__.startswith("nas.")]
    members = {name: one for part in ours for name, one in vars(part).items()}
    return [
        (name, one)
        for name, one in members.items()
        if not name.startswith("_") and isinstance(one, property | FunctionType) and one.__doc__
    ]


def _function(title: str, function: Callable[..., Any]) -> Iterator[str]:
    yield from (f"### {title}", "", "```python", _signature(function), "```", "", *_docstring(function.__doc__ or ""))


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parts: list[str] = []
    for name, one in signature.parameters.items():
        if one.kind is one.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        if name != "self":
            parts.append(_plain(str(one)))
            parts += ["/"] if one.kind is one.POSITIONAL_ONLY else []
    tail = f" -> {_plain(inspect.formatannotation(signature.return_annotation))}"
    line = f"{function.__name__}({', '.join(parts)}){tail}"
    if len(line) <= WIDTH:
        return line
    return f"{function.__name__}(\n" + "".join(f"    {part},\n" for part in parts) + f"){tail}"


def _plain(text: str) -> str:
    """A parameter, or an annotation, about as the source has it."""
    text = re.sub(r"\b(?:pathlib|typing|collections\.abc|jaxtyping|nas(?:\.\w+)*)\.(?=\w)", "", text)
    text = re.sub(r"\*<class '\w+'>", "Any", text).replace("~", "")
    text = re.sub(r"<function .*>", "…", text).replace("'", '"')
    return re.sub(r'ForwardRef\("([^"]*)"\)|"((?:\w+\.)?[A-Z]\w*)"', r"\1\2", text)


def _docstring(text: str) -> Iterator[str]:
    """As Markdown: code in fences, sections as lists."""
    text = inspect.cleandoc(text) + "\n"
    for paragraph in SECTION.sub("", text).strip().split("\n\n"):
        if paragraph.startswith("    "):
            yield from ("```python", inspect.cleandoc(paragraph), "```", "")
        elif paragraph:
            yield from (" ".join(paragraph.split()), "")
    for section, body in SECTION.findall(text):
        yield from _list(TITLES[section], entries(text, section) or [("", " ".join(body.split()))])


def _list(title: str, found: list[tuple[str, str]]) -> Iterator[str]:
    for names, said in found:
        shown = ", ".join(f"`{name}`" for name in names.split(", "))
        yield f"- {title}{shown}: {said}" if names else f"- {title}{said[:1].lower()}{said[1:]}"
    yield ""


def _first(docstring: str | None) -> str:
    """The first paragraph."""
    return " ".join(inspect.cleandoc(docstring or "").partition("\n\n")[0].split())
