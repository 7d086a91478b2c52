"""Help that a newcomer can read: a flag takes no value, and other options say what they take in one word."""

from typing import Any, Final

from typer.core import TyperCommand, TyperGroup

WORDS: Final = {
    "<str>": "TEXT",
    "<list[str]>": "TEXT",
    "<int>": "N",
    "<int range>": "N",
    "<float>": "N",
    "<path>": "PATH",
}
"""What typer calls a type → what the help says."""


class PlainCommand(TyperCommand):
    """A command of which the help is plain."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Options and arguments, with their words."""
        return [_plain(param, ctx) for param in super().get_params(ctx)]


class PlainGroup(TyperGroup):
    """A command with commands, of which the help is plain."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Options, with their words."""
        return [_plain(param, ctx) for param in super().get_params(ctx)]


def _plain(param: Any, ctx: Any) -> Any:
    if param.param_type_name == "argument":
        name = param.display_name_raw
        param._usage_display_name = lambda: name if param.required or name.startswith("[") else f"[{name}]"
        param.display_type_rich = lambda ctx: ""  # its name and its help say what it is
    elif param.metavar is None:
        param.metavar = "" if param.is_flag else WORDS.get(param.display_type(ctx))
    return param
