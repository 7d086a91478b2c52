"""What `nas strategies` prints: the strategies, or the options of one."""

from collections.abc import Sequence
from typing import Any

from cli.output import say, say_table, say_text


def list_strategies(found: Sequence[dict[str, Any]]) -> None:
    """A table of the strategies, as GET /v1/strategies describes them."""
    rows = (
        (
            f"{strategy['name']}{' (default)' if strategy['default'] else ''}",
            strategy["summary"],
            None if strategy["prepares"] == "nothing" else strategy["prepares"],
        )
        for strategy in found
    )
    say_table(("strategy", "what it does", "before the search"), rows)
    say("`nas strategies NAME` shows the options of one")


def show_options(found: Sequence[dict[str, Any]], name: str) -> None:
    """The options of one strategy. Raises InvalidInput if there is none of that name."""
    strategy = named(found, name)
    say_text(f"{name}: {strategy['summary']}")
    say_text(strategy["source"])
    properties = strategy["options"]["properties"]
    if not properties:
        say("it has no options")
        return
    rows = (
        (
            option,
            "null" if schema.get("default") is None else schema["default"],
            _allowed(schema),
            schema["description"],
        )
        for option, schema in properties.items()
    )
    say_table(("option", "default", "allowed", "what it is"), rows)
    say(f"set one with `nas search … --strategy {name} --set options.{next(iter(properties))}=VALUE`")


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
