"""Models whose fields take a value, or are opened to search."""

import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from nas.searchable import MAX_CHOICES, Choices, Range, Searchable, searchable
from nas.space import Categorical, Integer, Real


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("it has to be even")
    return value


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    count: int = Field(4, ge=1, le=100, description="how many")
    share: float = Field(0.5, ge=0, lt=1, description="how much")
    kind: Literal["a", "b", "c"] = Field("a", description="which")
    flag: bool = Field(False, description="whether")
    clip: float | None = Field(None, gt=0, description="at most")
    even: Annotated[int, AfterValidator(_even)] = Field(2, description="two, four, and so on")
    rate: float = Field(0.1, gt=0, le=10, description="how fast")
    places: Annotated[tuple[float, ...], Field(strict=False)] = Field((0.5,), max_length=3, description="where")
    name: str = Field("x", max_length=5, description="called")
    epochs: int = Field(description="left out")


Open: type[Searchable] = searchable(
    Model, optional={"rate": "the weather"}, leave={"epochs"}, name="Open", module=__name__
)


def location(body: Any) -> tuple[list[str], str]:
    """Where the only error is, without the tags, and what it says."""
    with pytest.raises(ValidationError) as caught:
        Open.model_validate(body)
    [error] = caught.value.errors()
    return [str(part) for part in error["loc"] if not str(part).endswith(":")], error["msg"]


def opened(**fields: Any) -> dict[str, Any]:
    return dict(Open.model_validate(fields).open(""))


def test_what_is_not_said_has_the_default_of_the_model_or_null() -> None:
    defaults = {name: field.default for name, field in Model.model_fields.items() if name != "epochs"}
    assert dict(Open()) == defaults | {"rate": None}
    assert Open().fixed() == dict(Open())
    assert Open().open("x.") == []


def test_every_field_takes_a_value() -> None:
    said = {
        "count": 7,
        "share": 0.25,
        "kind": "c",
        "flag": True,
        "clip": 2.0,
        "even": 6,
        "rate": 1.5,
        "places": [0.1, 0.2],
        "name": "y",
    }
    found = Open.model_validate(said)
    assert found.fixed() == said | {"places": (0.1, 0.2)}
    assert Open.model_validate({"clip": None, "rate": None}).fixed() == dict(Open())


def test_choices_become_a_parameter_without_order() -> None:
    assert opened(
        count={"choices": [1, 100, 7]},
        kind={"choices": ["c", "a"]},
        flag={"choices": [False, True]},
        clip={"choices": [None, 1, 2.5]},
        name={"choices": ["y"]},
        rate={"choices": [None, 0.1]},
    ) == {
        "count": Categorical((1, 100, 7)),
        "kind": Categorical(("c", "a")),
        "flag": Categorical((False, True)),
        "clip": Categorical((None, 1.0, 2.5)),
        "name": Categorical(("y",)),
        "rate": Categorical((None, 0.1)),
    }


def test_a_range_becomes_a_parameter_of_the_fields_own_kind() -> None:
    found = opened(
        count={"low": 1, "high": 100, "log": True},
        share={"low": 0, "high": 0.9},
        clip={"low": 1, "high": 5},
        rate={"low": 1e-3, "high": 1, "log": True},
        even={"low": 2, "high": 8, "log": False},
    )
    assert found == {
        "count": Integer(1, 100, log=True),
        "share": Real(0.0, 0.9),
        "clip": Real(1.0, 5.0),
        "even": Integer(2, 8),
        "rate": Real(1e-3, 1.0, log=True),
    }
    assert repr(found["clip"]) == "Real(low=1.0, high=5.0, log=False)"


def test_open_fields_stand_in_the_order_of_the_model_with_their_prefix_and_the_others_are_fixed() -> None:
    found = Open.model_validate({"rate": {"low": 1, "high": 2}, "count": {"choices": [1, 2]}, "name": "y"})
    assert [name for name, _ in found.open("recipe.")] == ["recipe.count", "recipe.rate"]
    assert found.fixed().keys() == set(Model.model_fields) - {"epochs", "count", "rate"}


RANGE_OR = 'it has to be a value, {"choices": [value, …]} or {"low": …, "high": …, "log": false}'
CHOICES_OR = 'it has to be a value or {"choices": [value, …]}'
SINGLE = 'Value error, it has to be a single value; {"choices": […]} lets the search choose one of several'


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"count": 0}, "count", "greater than or equal to 1"),
        ({"count": "4"}, "count", "valid integer"),
        ({"count": 4.0}, "count", "valid integer"),
        ({"count": True}, "count", "valid integer"),
        ({"count": None}, "count", "valid integer"),
        ({"count": [1, 2]}, "count", SINGLE),
        ({"count": {}}, "count", RANGE_OR),
        ({"count": {"min": 1, "max": 2}}, "count", RANGE_OR),
        ({"count": {"choices": []}}, "count", f"there are 0 choices; name 1 to {MAX_CHOICES}"),
        ({"count": {"choices": [1, 1]}}, "count", "stands there twice"),
        ({"count": {"choices": 3}}, "count.choices", "it has to be a list"),
        ({"count": {"choices": "123"}}, "count.choices", "it has to be a list"),
        ({"count": {"choices": [1, 101]}}, "count.choices.1", "less than or equal to 100"),
        ({"count": {"choices": [True, 2]}}, "count.choices.0", "valid integer"),
        ({"count": {"choices": [1, None]}}, "count.choices.1", "valid integer"),
        ({"count": {"choices": [1, [2]]}}, "count.choices.1", "valid integer"),
        ({"count": {"choices": [1], "low": 1}}, "count.low", "Extra inputs"),
        ({"count": {"low": 1, "high": 101}}, "count.high", "less than or equal to 100"),
        ({"count": {"low": 0, "high": 10}}, "count.low", "greater than or equal to 1"),
        ({"count": {"low": 1.5, "high": 10}}, "count.low", "valid integer"),
        ({"count": {"low": 1, "high": 10, "step": 2}}, "count.step", "Extra inputs"),
        ({"count": {"low": 1}}, "count.high", "Field required"),
        ({"count": {"high": 1}}, "count.low", "Field required"),
        ({"count": {"low": 5, "high": 5}}, "count", "low is 5 and high is 5; low has to be the smaller one"),
        ({"count": {"low": 6, "high": 5}}, "count", "low is 6 and high is 5; low has to be the smaller one"),
        ({"count": {"low": 1, "high": 5, "log": 1}}, "count.log", "valid boolean"),
        ({"share": {"low": 0, "high": 0.5, "log": True}}, "share", "low is 0.0; a logarithmic scale begins above 0"),
        ({"share": {"low": 0, "high": 1}}, "share.high", "less than 1"),
        ({"share": {"low": 0, "high": float("nan")}}, "share.high", "finite number"),
        ({"share": {"low": False, "high": 0.5}}, "share.low", "valid number"),
        ({"share": {"choices": [0.0, -0.0]}}, "share", "stands there twice"),
        ({"share": {"choices": [0, 0.0]}}, "share", "stands there twice"),
        ({"share": float("inf")}, "share", "finite number"),
        ({"kind": "d"}, "kind", "'a', 'b' or 'c'"),
        ({"kind": ["a", "b"]}, "kind", SINGLE),
        ({"kind": {"choices": ["a", "d"]}}, "kind.choices.1", "'a', 'b' or 'c'"),
        ({"kind": {"low": "a", "high": "c"}}, "kind", CHOICES_OR),
        ({"flag": 1}, "flag", "valid boolean"),
        ({"flag": {"low": 0, "high": 1}}, "flag", CHOICES_OR),
        ({"flag": {"choices": [0, True]}}, "flag.choices.0", "valid boolean"),
        ({"clip": {"low": None, "high": 1}}, "clip.low", "valid number"),
        ({"clip": {"low": 0, "high": 1}}, "clip.low", "greater than 0"),
        ({"clip": {"choices": [None, 0]}}, "clip.choices.1", "greater than 0"),
        ({"even": 3}, "even", "it has to be even"),
        ({"even": {"choices": [2, 3]}}, "even.choices.1", "it has to be even"),
        ({"even": {"low": 3, "high": 8}}, "even.low", "it has to be even"),
        ({"name": {"choices": ["y", "longer"]}}, "name.choices.1", "at most 5 characters"),
        ({"places": 0.5}, "places", "it has to be a list"),
        ({"places": {"choices": [[0.1], [0.2]]}}, "places", "it has to be a list"),
        ({"places": {"low": 0.1, "high": 0.2}}, "places", "it has to be a list"),
        ({"places": [0.1, "x"]}, "places.1", "valid number"),
        ({"epochs": 3}, "epochs", "Extra inputs"),
        ({"cuont": 3}, "cuont", "Extra inputs"),
        ([], "", "valid dictionary"),
    ],
)
def test_an_error_names_the_field_and_what_it_takes(body: Any, field: str, says: str) -> None:
    where, what = location({"count": 4} | body if isinstance(body, dict) else body)
    assert ".".join(where) == field
    assert says in what


def test_more_choices_than_can_be_are_refused() -> None:
    assert len(opened(count={"choices": list(range(1, MAX_CHOICES + 1))})["count"].choices) == MAX_CHOICES
    where, what = location({"name": {"choices": [f"{index}" for index in range(MAX_CHOICES + 1)]}})
    assert (where, what) == (["name"], f"Value error, there are {MAX_CHOICES + 1} choices; name 1 to {MAX_CHOICES}")


def test_every_error_of_a_body_is_told() -> None:
    with pytest.raises(ValidationError) as caught:
        Open.model_validate({"count": {"choices": [0, 101, 7]}, "kind": "d", "share": {"low": 2, "high": 3}})
    assert caught.value.error_count() == 5


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """All forms that all fields can have."""
    values: dict[str, st.SearchStrategy[Any]] = {
        "count": st.integers(1, 100),
        "share": st.floats(0, 0.99).map(abs),
        "kind": st.sampled_from("abc"),
        "flag": st.booleans(),
        "clip": st.none() | st.floats(0.01, 1e6),
        "even": st.integers(-100, 100).map(lambda n: 2 * n),
        "rate": st.floats(0.001, 10),
        "name": st.text(max_size=5),
    }
    body = {}
    for name in draw(st.sets(st.sampled_from(sorted(values)))):
        value = values[name]
        forms = [value, st.builds(lambda v: {"choices": v}, st.lists(value, min_size=1, max_size=5, unique=True))]
        if name in ("count", "share", "rate", "even"):
            ends = st.lists(value, min_size=2, max_size=2, unique=True).map(sorted)
            forms.append(ends.map(lambda v: {"low": v[0], "high": v[1]} | ({"log": True} if v[0] > 0 else {})))
        body[name] = draw(st.one_of(forms))
    return body


@given(bodies())
@hypothesis_settings(max_examples=50)
def test_what_is_stored_comes_back_as_it_was(body: dict[str, Any]) -> None:
    found = Open.model_validate(body)
    stored = json.loads(json.dumps(found.model_dump(mode="json")))
    again = Open.model_validate(stored)
    assert again == found
    assert repr(again) == repr(found)
    assert again.open("x.") == found.open("x.")
    assert again.fixed().keys() | {name for name, _ in again.open("")} == set(Model.model_fields) - {"epochs"}
    for name, distribution in found.open(""):
        said = body[name].get("choices") or [body[name]["low"], body[name]["high"]]
        assert all(distribution.contains(value) for value in said)


def test_what_was_validated_can_be_given_again_as_it_is() -> None:
    found = Open.model_validate({"count": {"choices": [1, 2]}, "rate": {"low": 1, "high": 2}})
    again = Open.model_validate(dict(found))
    assert again == found
    assert isinstance(dict(again)["count"], Choices)
    assert isinstance(dict(again)["rate"], Range)


def test_the_schema_shows_the_value_with_its_bounds_and_the_other_forms_by_reference() -> None:
    schema = Open.model_json_schema()
    assert set(schema["$defs"]) == {"OneOf", "Between"}
    one_of, between = {"$ref": "#/$defs/OneOf"}, {"$ref": "#/$defs/Between"}
    assert schema["properties"]["count"] == {
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": 100}, one_of, between],
        "default": 4,
        "description": "how many",
        "title": "Count",
    }
    assert schema["properties"]["kind"]["anyOf"] == [{"type": "string", "enum": ["a", "b", "c"]}, one_of]
    assert schema["properties"]["flag"]["anyOf"] == [{"type": "boolean"}, one_of]
    assert {"type": "null"} in schema["properties"]["rate"]["anyOf"]
    assert schema["properties"]["rate"]["description"] == "how fast; null: what suits the weather"
    assert schema["properties"]["rate"]["default"] is None
    assert schema["properties"]["places"]["type"] == "array"
    assert set(schema["properties"]) == set(Model.model_fields) - {"epochs"}
