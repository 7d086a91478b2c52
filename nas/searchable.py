"""Models whose fields take a value, or are opened to search: {"choices": […]} or {"low": …, "high": …, "log": …}."""

from collections.abc import Mapping, Set
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Generic, Literal, Self, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    create_model,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from nas.space.distributions import Categorical, Distribution, Integer, Real
from nas.strict import Strict

MAX_CHOICES = 100
VALUE: Final = "value:"
CHOICES: Final = "choices:"
RANGE: Final = "range:"
"""Tags of the three forms. They stand in the path of a validation error, where a colon tells them from fields."""


def _listed(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError("it has to be a list")
    return tuple(value)


Listed: Final = BeforeValidator(_listed)
"""JSON has lists, frozen models have tuples, and strict ones would take no list for one."""

T = TypeVar("T")


def counted(schema: JsonDict) -> None:
    """Bounds of how many items a `Listed` has: behind it pydantic takes the tuple for any value with a length."""
    for of_text, of_array in (("minLength", "minItems"), ("maxLength", "maxItems")):
        if of_text in schema:
            schema[of_array] = schema.pop(of_text)


class Choices(Strict, Generic[T]):
    """The search chooses one of these."""

    choices: Annotated[tuple[T, ...], Listed]

    @model_validator(mode="after")
    def _different(self) -> Self:
        if not 1 <= len(self.choices) <= MAX_CHOICES:
            raise ValueError(f"there are {len(self.choices)} choices; name 1 to {MAX_CHOICES}")
        if len(set(self.choices)) < len(self.choices):
            raise ValueError("a choice stands there twice; name each of them once")
        return self

    def distribution(self) -> Distribution:
        """As strategies see it."""
        return Categorical(self.choices)  # type: ignore[arg-type]  # fields hold what JSON has


class Range(Strict, Generic[T]):
    """The search chooses a number from `low` to `high`, both included; `log`: on a logarithmic scale."""

    low: T
    high: T
    log: bool = False

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        low, high = self._ends()
        if not low < high:
            raise ValueError(f"low is {low} and high is {high}; low has to be the smaller one")
        if self.log and low <= 0:
            raise ValueError(f"low is {low}; a logarithmic scale begins above 0")
        return self

    def distribution(self) -> Distribution:
        """As strategies see it."""
        low, high = self._ends()
        if isinstance(low, int) and isinstance(high, int):
            return Integer(low, high, self.log)
        return Real(float(low), float(high), self.log)

    def _ends(self) -> tuple[Any, Any]:
        return self.low, self.high


# Choices and Range as a JSON schema shows them: once, and not anew for the bounds of every field.


class OneOf(Strict):
    """The search chooses one of these; each has to be a value that the field takes."""

    choices: Annotated[list[Any], Field(min_length=1, max_length=MAX_CHOICES)]


class Between(Strict):
    """The search chooses a number of this range; both ends have to be values that the field takes."""

    low: float = Field(description="the least number")
    high: float = Field(description="the largest number")
    log: bool = Field(False, description="whether on a logarithmic scale, which begins above 0")


class Searchable(Strict):
    """What searchable() makes: a model with every field open to search."""

    def fixed(self) -> dict[str, Any]:
        """The fields that have a value."""
        return {name: value for name, value in self if not isinstance(value, Choices | Range)}

    def open(self, prefix: str) -> list[tuple[str, Distribution]]:
        """The fields that the search chooses, by their names with that prefix."""
        return [(prefix + name, value.distribution()) for name, value in self if isinstance(value, Choices | Range)]


def searchable(model: type[BaseModel], *, optional: Mapping[str, str], leave: Set[str], name: str, module: str) -> Any:
    """A model with the fields of `model`, each of which takes a value or is opened to search; lists take a value only.

    Args:
        model: where names, types, bounds, defaults and descriptions come from.
        optional: fields whose default is null, and what the value then suits.
        leave: fields that are left out.
        name, module: of the new model, where it is to be found, so that its values can be sent to another process.
    """
    fields: dict[str, Any] = {}
    for key, field in model.model_fields.items():
        if key in leave:
            continue
        default = None if key in optional else field.default
        description = f"{field.description}; null: what suits {optional[key]}" if key in optional else field.description
        fields[key] = (_open(field, nullable=key in optional), Field(default, description=description))
    return create_model(
        name,
        __base__=Searchable,
        __doc__="Each field takes a value, or is opened to search.",
        __module__=module,
        **fields,
    )


def _open(field: FieldInfo, *, nullable: bool) -> Any:
    bounded: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    if _holds_list(field.annotation):
        return Annotated[bounded, Listed]
    value: Any = bounded | None if nullable else bounded
    forms: list[Any] = [Annotated[value, BeforeValidator(_single), Tag(VALUE)], Annotated[Choices[value], Tag(CHOICES)]]
    shown: list[Any] = [value, OneOf]
    said = 'a value or {"choices": [value, …]}'
    number = _number(field.annotation)
    if number is not None:
        of_number: Any = Annotated[number, *field.metadata] if field.metadata else number
        forms.append(Annotated[Range[of_number], Tag(RANGE)])
        shown.append(Between)
        said = 'a value, {"choices": [value, …]} or {"low": …, "high": …, "log": false}'
    return Annotated[
        Union[tuple(forms)],  # noqa: UP007 - of a computed tuple
        Discriminator(_form, custom_error_type="form", custom_error_message=f"it has to be {said}"),
        BeforeValidator(_unchanged, json_schema_input_type=Union[tuple(shown)]),  # noqa: UP007
    ]


def _unchanged(value: Any) -> Any:
    return value


def _holds_list(annotation: Any) -> bool:
    annotation = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return get_origin(annotation) is tuple


def _single(value: Any) -> Any:
    if isinstance(value, list | tuple):
        raise ValueError('it has to be a single value; {"choices": […]} lets the search choose one of several')
    return value


def _number(annotation: Any) -> type | None:
    """int or float, if that is what the field takes besides null."""
    if get_origin(annotation) in (UnionType, Union):
        [*rest] = [part for part in get_args(annotation) if part is not NoneType]
        annotation = rest[0] if len(rest) == 1 else None
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation if annotation in (int, float) else None


def _form(value: Any) -> Literal["value:", "choices:", "range:"] | None:
    if isinstance(value, Choices):
        return CHOICES
    if isinstance(value, Range):
        return RANGE
    if not isinstance(value, dict):
        return VALUE
    if "choices" in value:
        return CHOICES
    return RANGE if value.keys() & Range.model_fields.keys() else None
