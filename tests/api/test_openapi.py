"""The OpenAPI document."""

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest

from nas.search.catalog import STRATEGIES
from nas.settings import Settings
from nas.spec import JobSpec
from tests.api.client import ApiClient
from tests.api.conftest import started

PATHS = {
    "/v1/jobs": {"get", "post"},
    "/v1/jobs/estimate": {"post"},
    "/v1/jobs/{job_id}": {"delete", "get", "patch"},
    "/v1/jobs/{job_id}/dashboard": {"get"},
    "/v1/jobs/{job_id}/events": {"get"},
    "/v1/jobs/{job_id}/best": {"get"},
    "/v1/jobs/{job_id}/model": {"get"},
    "/v1/jobs/{job_id}/tensorboard": {"get"},
    "/v1/jobs/{job_id}/pareto": {"get"},
    **{f"/v1/jobs/{{job_id}}/{figure}": {"get"} for figure in ("curves", "points", "timeline", "evolution")},
    **{f"/v1/jobs/{{job_id}}/{picture}": {"get"} for picture in ("figures/{name}.{kind}", "report")},
    **{f"/v1/jobs/{{job_id}}/{lesson}": {"get"} for lesson in ("study", "importances", "parallel")},
    **{f"/v1/jobs/{{job_id}}/{verb}": {"post"} for verb in ("pause", "resume", "cancel", "extend", "clone")},
    "/v1/jobs/{job_id}/trials": {"get"},
    "/v1/jobs/{job_id}/trials/{number}": {"get"},
    "/v1/jobs/{job_id}/trials/{number}/retrain": {"post"},
    "/v1/jobs/{job_id}/trials/{number}/model": {"get"},
    "/v1/jobs/{job_id}/trials/{number}/logs": {"get"},
    "/v1/jobs/{job_id}/predict": {"post"},
    "/session": {"get", "post", "delete"},
    "/v1/datasets": {"get", "post"},
    "/v1/datasets/{name}": {"get", "delete"},
    "/v1/strategies": {"get"},
    "/v1/genotypes": {"get"},
    "/v1/operations": {"get"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
    "/problems/{name}": {"get"},
}


@pytest.fixture(scope="module")
def api(shared_api: ApiClient) -> ApiClient:
    """One for all tests."""
    return shared_api


@pytest.fixture(scope="module")
def document(api: ApiClient) -> dict[str, Any]:
    answer = api.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def resolve(document: dict[str, Any], reference: str) -> Any:
    assert reference.startswith("#/")
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def test_it_describes_every_route(document: dict[str, Any]) -> None:
    assert {path: set(methods) for path, methods in document["paths"].items()} == PATHS


def test_it_says_what_it_is(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "NAS service"
    assert document["info"]["version"] == version("nas-service")
    assert document["info"]["description"]


def test_every_reference_in_it_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert found
    for reference in found:
        assert isinstance(resolve(document, reference), dict)


def test_every_operation_has_a_name_of_its_own_a_summary_and_an_answer(document: dict[str, Any]) -> None:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        assert [status for status in operation["responses"] if status.startswith("2")]
        for answer in operation["responses"].values():
            assert answer["description"]


def test_every_parameter_in_a_path_is_described(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        wanted = set(re.findall(r"\{(\w+)\}", path))
        for operation in methods.values():
            given = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert given == wanted


def test_what_can_go_wrong_is_described_as_a_problem(document: dict[str, Any]) -> None:
    problem = "#/components/schemas/Problem"
    for path, methods in document["paths"].items():
        if path.startswith("/v1/jobs"):
            for operation in methods.values():
                assert set(references(operation["responses"]["422"])) == {problem}
                assert set(references(operation["responses"]["404"])) == {problem}
    for path in ("best", "model", "tensorboard", "trials/{number}/model"):
        answers = document["paths"][f"/v1/jobs/{{job_id}}/{path}"]["get"]["responses"]
        assert set(references(answers["409"])) == {problem}


def test_its_examples_of_a_job_can_be_posted_as_they_are(api: ApiClient, document: dict[str, Any]) -> None:
    examples = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) >= 2
    for example in examples.values():
        assert example["summary"]
        answer = api.ask(example["value"])
        assert answer.status_code == 201, answer.text
    specs = [JobSpec.model_validate(example["value"]) for example in examples.values()]
    assert any(len(spec.objectives) > 1 and spec.limits.max_latency_ms is not None for spec in specs)
    assert any(STRATEGIES[spec.strategy].prepares == "supernet" for spec in specs)


def test_the_example_of_everything_names_every_field(document: dict[str, Any]) -> None:
    example = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["examples"]["all"]
    whole = JobSpec.model_validate(example["value"]).model_dump()
    assert set(example["value"]) == set(whole) - {"transfer", "scheduler"}  # no job to start from yet; beside pruning
    for part in ("limits", "pruning", "budget", "final"):
        assert set(example["value"][part]) == set(whole[part])


def test_every_field_of_a_job_is_described_with_its_bounds(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in (
        "SpaceSpec",
        "RecipeSpec",
        "Limits",
        "TransferSpec",
        "BudgetSpec",
        "FinalSpec",
        "PruningSpec",
        "ObjectiveForm",
    ):
        assert schemas[name]["additionalProperties"] is False
        for field in schemas[name]["properties"].values():
            assert field["description"]
    for field in schemas["JobSpec"]["properties"].values():
        of = resolve(document, field["$ref"]) if "$ref" in field else field
        assert of["description"]
    trials = schemas["BudgetSpec"]["properties"]["trials"]
    assert (trials["minimum"], trials["maximum"], trials["default"]) == (1, 100_000, 24)
    assert schemas["JobSpec"]["required"] == ["dataset"]
    assert schemas["JobSpec"]["additionalProperties"] is False


ONE_OF, BETWEEN = {"$ref": "#/components/schemas/OneOf"}, {"$ref": "#/components/schemas/Between"}


@pytest.mark.parametrize(
    ("part", "name", "value", "number"),
    [
        ("SpaceSpec", "channels", {"type": "integer", "minimum": 1, "maximum": 256}, True),
        ("SpaceSpec", "dropout", {"type": "number", "minimum": 0, "maximum": 0.9}, True),
        ("SpaceSpec", "skeleton", {"type": "string", "enum": ["stacked", "residual"]}, False),
        ("RecipeSpec", "lr", {"type": "number", "exclusiveMinimum": 0, "maximum": 100}, True),
        ("RecipeSpec", "flip", {"type": "boolean"}, False),
    ],
)
def test_a_field_that_is_open_to_search_is_shown_with_all_its_forms(
    document: dict[str, Any], part: str, name: str, value: dict[str, Any], number: bool
) -> None:
    forms = document["components"]["schemas"][part]["properties"][name]["anyOf"]
    assert [form for form in forms if form != {"type": "null"}] == [value, ONE_OF] + [BETWEEN] * number
    assert resolve(document, ONE_OF["$ref"])["required"] == ["choices"]
    assert resolve(document, BETWEEN["$ref"])["required"] == ["low", "high"]
    assert set(resolve(document, BETWEEN["$ref"])["properties"]) == {"low", "high", "log"}


def test_every_open_field_of_a_job_is_shown_so(document: dict[str, Any]) -> None:
    """Lists take a value only, and so does what makes the space what it is."""
    alone = {"kind", "ops", "nodes", "layer_kinds", "fewest", "most", "narrowest", "widest", "kernels", "parallel"}
    for part, closed in (("SpaceSpec", alone), ("RecipeSpec", {"milestones"})):
        fields = document["components"]["schemas"][part]["properties"]
        assert {name for name, field in fields.items() if ONE_OF not in field.get("anyOf", [])} == closed


def test_nothing_stands_in_it_that_nothing_refers_to(document: dict[str, Any]) -> None:
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) == schemas


def test_errors_have_the_media_type_that_they_are_sent_with(document: dict[str, Any]) -> None:
    described = 0
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if status.startswith("4") or status.startswith("5"):
                    described += 1
                    assert set(answer["content"]) == {"application/problem+json"}
                elif answer.get("content"):
                    known = {"application/json", "application/zip", "text/event-stream", "text/plain", "text/html"}
                    known |= {"image/svg+xml", "image/png"}
                    assert set(answer["content"]) <= known
    assert described > 10


def test_what_can_be_counted_is_counted_as_what_it_is(document: dict[str, Any]) -> None:
    def look(schema: Any) -> None:
        if isinstance(schema, list):
            for one in schema:
                look(one)
        elif isinstance(schema, dict):
            if schema.get("type") == "array":
                assert not {"minLength", "maxLength"} & set(schema), schema
            for one in schema.values():
                look(one)

    look(document)


def test_files_are_described_as_files(document: dict[str, Any]) -> None:
    for path in ("model", "tensorboard", "trials/{number}/model"):
        answers = document["paths"][f"/v1/jobs/{{job_id}}/{path}"]["get"]["responses"]
        assert set(answers["200"]["content"]) == {"application/zip"}


def test_what_any_request_can_be_answered_stands_at_every_operation(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        needs_none = path in ("/healthz", "/readyz") or path.startswith("/problems")
        for method, operation in methods.items():
            declared = set(operation["responses"])
            open_all_the_same = (path, method) == ("/session", "post")  # where the key comes in the body
            assert {"400", "408", "413", "421", "503"} <= declared
            assert needs_none or {"401", "403", "429"} <= declared
            assert (operation.get("security") == []) == (needs_none or open_all_the_same)
            assert ({} in operation.get("security", ())) == ((path, method) == ("/session", "get"))
            assert list(operation["responses"]) == sorted(operation["responses"])
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert (schemes["cookie"]["in"], schemes["cookie"]["name"]) == ("cookie", "nas_session")


def test_it_says_whether_a_key_is_needed(settings: Settings) -> None:
    with started(settings) as api:
        assert {} in api.get("/openapi.json").json()["security"]
    with started(settings) as api:
        api.of("ada")
        assert api.get("/openapi.json").json()["security"] == [{"bearer": []}, {"cookie": []}]


def test_its_pages_are_served(api: ApiClient) -> None:
    assert "swagger" in api.get("/docs").text.lower()
