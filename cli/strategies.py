"""What `nas strategies` prints: the strategies, or the options of one."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def list_strategies(found: Sequence[dict[str, Any]], console: Console) -> None:
    """A table of the strategies, as GET /v1/strategies describes them."""
    table = Table()
    table.add_column("strategy", no_wrap=True)
    for heading in ("what it does", "before the search"):
        table.add_column(heading)
    for strategy in found:
        table.add_row(
            f"{strategy['name']}{' (default)' if strategy['default'] else ''}",
            strategy["summary"],
            "" if strategy["prepares"] == "nothing" else strategy["prepares"],
        )
    console.print(table, highlight=False)
    console.print("`nas strategies NAME` shows the options of one", highlight=False)


def show_options(found: Sequence[dict[str, Any]], name: str, console: Console) -> None:
    """The options of one strategy. Raises InvalidInput if there is none of that name."""
    strategy = named(found, name)
    console.print(f"{name}: {strategy['summary']}\n{strategy['source']}", highlight=False, soft_wrap=True)
    properties = strategy["options"]["properties"]
    if not properties:
        console.print("it has no options", highlight=False)
        return
    table = Table()
    table.add_column("option", no_wrap=True)
    for heading in ("default", "allowed", "what it is"):
        table.add_column(heading)
    for option, schema in properties.items():
        default = schema.get("default")
        table.add_row(option, "null" if default is None else str(default), _allowed(schema), schema["description"])
    console.print(table, highlight=False)
    option = next(iter(properties))
    console.print(f"set one with `nas search … --strategy {name} --set options.{option}=VALUE`", highlight=False)


def named(found: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """The strategy of that name. Raises InvalidInput if there is none."""
    from nas.errors import InvalidInput

    strategy = next((one for one in found if one["name"] == name), None)
    if strategy is None:
        raise InvalidInput("strategy", name, f"allowed: {', '.join(one['name'] for one in found)}")
    return strategy


def _allowed(schema: dict[str, Any]) -> str:
    """Bounds or choices; of a field that may be null, those of its value."""
    for part in (schema, *schema.get("anyOf", ())):
        if "enum" in part:
            return ", ".join(map(str, part["enum"]))
        low, high = part.get("minimum", part.get("exclusiveMinimum")), part.get("maximum")
        if low is not None and high is not None:
            return f"{'above ' if 'exclusiveMinimum' in part else ''}{low} to {high}"
    return str(schema.get("type", ""))
