"""Whatever is posted, the answer is a job or a problem document, never a 5xx."""

import json
from typing import Any, get_args

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.space import Shape
from nas.space.known import KNOWN
from nas.spec import ENGINES, JobSpec, TransferSpec
from nas.train.recipe import Recipe
from tests.api.client import ApiClient, problem

texts = st.text(max_size=20) | st.text(st.characters(categories=["Cs", "Cc"]), max_size=3)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from([0, 1, 2**31, 2**63, -0.0])
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
FIELDS: dict[str | None, list[str]] = {
    None: list(JobSpec.model_fields),
    **{
        part: list(field.annotation.model_fields)
        for part, field in JobSpec.model_fields.items()
        if field.annotation is not None and hasattr(field.annotation, "model_fields")
    },
    "transfer": list(TransferSpec.model_fields),
}
WORDS = sorted(
    {"digits", "squares", "random", "tpe", *ENGINES, "none", "skip_connect", "sep_conv_3x3", "conv", "cells", "layers"}
    | {"mse", "cross_entropy", *KNOWN, KNOWN["DARTS_V2"], "Genotype(normal=[], normal_concat=range(9**9))"}
    | {
        word
        for model in (Shape, Recipe)
        for field in model.model_fields.values()
        for word in get_args(field.annotation)
        if isinstance(word, str)
    }
)
values = st.integers(-1, 30) | st.sampled_from(WORDS) | st.floats(0, 100) | st.booleans() | st.none()
ranges = st.fixed_dictionaries(
    {"low": values | leaves, "high": values | leaves}, optional={"log": st.booleans() | leaves}
)
likely = (
    values
    | st.lists(values, max_size=4)
    | st.fixed_dictionaries({"choices": st.lists(values | leaves, max_size=4)})
    | st.builds(lambda a, b: {"low": min(a, b), "high": max(a, b)}, st.integers(0, 20), st.integers(0, 20))
    | st.builds(lambda a, b: {"low": min(a, b), "high": max(a, b), "log": True}, st.floats(0, 1), st.floats(0, 1))
    | ranges
)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Almost a job: the right fields, mostly with values that could be theirs."""
    body: dict[str, Any] = {"dataset": "squares"}
    for _ in range(draw(st.integers(0, 6))):
        part = draw(st.sampled_from(list(FIELDS)))
        name = draw(st.sampled_from(FIELDS[part]) if draw(st.integers(0, 9)) else texts)
        value = draw(likely if draw(st.integers(0, 3)) else anything)
        inner = body if part is None else body.setdefault(part, {})
        if isinstance(inner, dict):
            inner[name] = value
    return body


def check(api: ApiClient, body: object) -> None:
    answer = api.ask(json.dumps(body))
    if answer.status_code == 201:
        spec = api.get(answer.headers["Location"]).json()["spec"]
        assert spec["dataset"] in ("squares", "digits")
        again = JobSpec.model_validate(spec)  # as workers read it
        assert again.model_dump(mode="json") == spec
        again.search_space().sample(np.random.default_rng(0))
        return
    assert problem(answer, answer.status_code)["errors"]
    assert 400 <= answer.status_code < 500


same_app = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@same_app
@given(anything)
def test_no_json_breaks_the_service(api: ApiClient, body: object) -> None:
    check(api, body)


@same_app
@given(bodies())
def test_nothing_that_is_almost_a_job_breaks_the_service(api: ApiClient, body: dict[str, Any]) -> None:
    check(api, body)


@same_app
@given(st.binary(max_size=100))
def test_no_bytes_break_the_service(api: ApiClient, body: bytes) -> None:
    answer = api.ask(body)
    problem(answer, answer.status_code)
    assert 400 <= answer.status_code < 500
