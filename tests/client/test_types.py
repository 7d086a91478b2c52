"""The client's types: they are the API's, they help whoever writes a program, and what is imported stays light."""

import subprocess
import sys
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

import nas
from api.main import create_app
from nas.client import AsyncJob, Job, answers
from nas.client.spec import Fields
from nas.settings import Settings
from nas.spec import JobSpec

ANSWERS: dict[str, Any] = {
    "GET /v1/jobs": answers.JobPage,
    "POST /v1/jobs": answers.Created,
    "POST /v1/jobs/estimate": answers.Estimate,
    "GET /v1/jobs/{job_id}": answers.JobDetail,
    "PATCH /v1/jobs/{job_id}": answers.JobDetail,
    "POST /v1/jobs/{job_id}/pause": answers.JobDetail,
    "POST /v1/jobs/{job_id}/resume": answers.JobDetail,
    "POST /v1/jobs/{job_id}/cancel": answers.JobDetail,
    "POST /v1/jobs/{job_id}/extend": answers.JobDetail,
    "POST /v1/jobs/{job_id}/clone": answers.Created,
    "GET /v1/jobs/{job_id}/dashboard": answers.Dashboard,
    "GET /v1/jobs/{job_id}/best": answers.BestNetwork,
    "GET /v1/jobs/{job_id}/pareto": answers.Pareto,
    "GET /v1/jobs/{job_id}/study": answers.StudyPage,
    "GET /v1/jobs/{job_id}/trials": answers.TrialPage,
    "GET /v1/jobs/{job_id}/trials/{number}": answers.TrialDetail,
    "GET /v1/jobs/{job_id}/trials/{number}/logs": answers.LogLines,
    "GET /v1/datasets/{name}": answers.DatasetInfo,
    "POST /v1/datasets": answers.DatasetInfo,
}
"""Route → what the client says of its answer."""

LISTED: dict[str, Any] = {"GET /v1/datasets": answers.DatasetInfo, "GET /v1/strategies": answers.StrategyInfo}
"""Route of a list → what the client says of an item."""

PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}

USE = """
import asyncio
from pathlib import Path

import nas
from nas import AsyncClient, Client
from nas.client import Job


def plain() -> float | None:
    with Client("http://127.0.0.1:8000", key="k") as client:
        job: Job = client.search(dataset="digits", strategy="auto", budget={"trials": 20})
        other = client.search({"dataset": "digits"})
        job.watch().wait(timeout_s=5)
        fraction: float = job.dashboard()["progress"]["fraction"]
        path: Path = job.download("model.zip")
        job.figure("pareto", x="params").save("pareto.png")
        newest: Job = client.jobs(limit=1)[0]
        for found in (newest, *client.jobs(state="running", q="digits")):
            print(found.id, found.state)
        names: dict[str, float] = nas.load(path).predict("image.png")
        print(fraction, other.pause().extend(trials=40).clone(seed=1).id, names, nas.load(path).classes)
        return job.best().test_accuracy


async def waiting() -> str:
    async with AsyncClient() as client:
        job = await client.search(dataset=Path("photos.zip"), seed=1)
        async for event in job.events():
            print(event["event"])
        return (await job.wait()).state


print(plain(), asyncio.run(waiting()))
"""

WRONG = """
from nas import Client

client = Client()
client.search(dataset="digits", budgte={"trials": 20})
client.search(dataset="digits", seed="one")
client.search(dataset="digits").dashboard()["progres"]
client.search(dataset="digits").best().acuracy
"""


CONFIG = """
[mypy]
strict = true
follow_imports = silent
[mypy-torch.*,numpy.*,jaxtyping.*,optuna.*,pandas.*,sqlalchemy.*,IPython.*,pydantic.*,rich.*,httpx.*]
follow_imports = skip
[mypy-nas.model.*,nas.data.*,nas.train.*,nas.space.*,nas.spec.*,nas.plugins.*]
follow_imports = skip
"""
"""Without what the client only passes on, which takes minutes."""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What strict mypy says of two programs."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "use.py").write_text(USE)
    (folder / "wrong.py").write_text(WRONG)
    (folder / "mypy.ini").write_text(CONFIG)
    root = Path(nas.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "use.py", "wrong.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"MYPYPATH": str(root)},
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return {
        name: "".join(line for line in done.stdout.splitlines(True) if line.startswith(name))
        for name in ("use", "wrong")
    }


def test_a_program_that_uses_the_client_well_is_well_typed(checked: dict[str, str]) -> None:
    assert checked["use"] == ""


def test_mistakes_are_found_before_the_program_runs(checked: dict[str, str]) -> None:
    for said in ('"budgte"', '"seed"', '"progres"', '"acuracy"'):
        assert said in checked["wrong"]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the service says of itself."""
    return create_app(Settings.read({"NAS_HOME": str(tmp_path_factory.mktemp("home"))})).openapi()


@pytest.mark.parametrize("route", [*ANSWERS, *LISTED])
def test_an_answer_has_the_fields_and_types_of_the_openapi_document(document: dict[str, Any], route: str) -> None:
    method, path = route.split()
    answer = next(found for code, found in document["paths"][path][method.lower()]["responses"].items() if code < "3")
    schema = resolved(document, answer["content"]["application/json"]["schema"])
    if route in LISTED:
        schema = schema["properties"]["items"]["items"]
    assert differences(route, {**ANSWERS, **LISTED}[route], schema, document) == []


def test_every_type_of_the_client_is_part_of_an_answer() -> None:
    seen: set[str] = set()

    def visit(kind: Any) -> None:
        if is_typeddict(kind):
            seen.add(kind.__name__)
            for hint in get_type_hints(kind).values():
                visit(hint)
        for part in get_args(kind):
            visit(part)

    for kind in (*ANSWERS.values(), *LISTED.values()):
        visit(kind)
    assert {*answers.__all__} - seen == {"JobHead"}, "what the two views of a job share"


@pytest.mark.parametrize(("waiting", "going_on"), [(nas.Client, nas.AsyncClient), (Job, AsyncJob)])
def test_both_kinds_can_do_the_same(waiting: type, going_on: type) -> None:
    names = [{name for name in vars(kind) if not name.startswith("_")} for kind in (waiting, going_on)]
    assert names[0] == names[1]
    assert len(names[0]) > 8


def test_every_field_of_a_job_can_be_a_keyword() -> None:
    assert {*Fields.__annotations__, "dataset"} == set(JobSpec.model_fields)


def differences(place: str, told: Any, sent: Any, document: dict[str, Any]) -> list[str]:
    """Where a type of the client is not what a schema of the document says."""
    if told is Any:
        return []
    sent = resolved(document, sent)
    kinds, schemas = parts(told), [resolved(document, one) for one in sent.get("anyOf", [sent])]
    if len(kinds) > 1 or len(schemas) > 1:
        ours, theirs = ({name(one) for one in found} for found in (kinds, schemas))
        if ours != theirs:
            return [f"{place}: {ours} for {theirs}"]
        beside = ((kind, next(one for one in schemas if name(one) == name(kind))) for kind in kinds)
        return [found for kind, one in beside for found in differences(place, kind, one, document)]
    if is_typeddict(told):
        hints = get_type_hints(told)
        if set(hints) != set(sent.get("properties", ())):
            return [f"{place}: {set(hints) ^ set(sent.get('properties', ()))}"]
        return [
            found
            for field, hint in hints.items()
            for found in differences(f"{place}.{field}", hint, sent["properties"][field], document)
        ]
    if name(told) != name(sent):
        return [f"{place}: {told} for {sent}"]
    if get_origin(told) is list:
        return differences(f"{place}[]", get_args(told)[0], sent["items"], document)
    if get_origin(told) is tuple:
        pairs = zip(get_args(told), sent["prefixItems"], strict=True)
        return [found for kind, one in pairs for found in differences(f"{place}()", kind, one, document)]
    if get_origin(told) is dict:
        values = sent.get("additionalProperties", True)
        return differences(f"{place}{{}}", get_args(told)[1], {} if values is True else values, document)
    return []


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, not the name of one."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def parts(kind: Any) -> list[Any]:
    """Of a union."""
    return list(get_args(kind)) if get_origin(kind) in (Union, types.UnionType) else [kind]


def name(kind: Any) -> str:
    """What JSON Schema calls a type, or a schema."""
    if isinstance(kind, dict):
        return str(kind.get("type", "any"))
    if is_typeddict(kind) or get_origin(kind) is dict:
        return "object"
    return "array" if get_origin(kind) in (list, tuple) else PLAIN[kind]


def test_importing_the_package_and_the_client_stays_light() -> None:
    script = """
import sys
import nas
print("httpx" in sys.modules)
assert {"Client", "AsyncClient", "load"} <= set(dir(nas))
nas.Client("http://127.0.0.1:9").close()
print(sorted({"torch", "pandas", "optuna", "IPython", "sqlalchemy", "matplotlib"} & set(sys.modules)))
try:
    nas.Clent
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", "[]", "module 'nas' has no attribute 'Clent'"]


@pytest.mark.parametrize("package", ["pandas", "optuna"])
def test_a_package_that_is_missing_is_named_with_how_to_install_it(package: str) -> None:
    script = f"""
import sys
sys.modules[{package!r}] = None
from nas.client import frames, studies
from nas.client.errors import NoPackage
try:
    frames.trials_frame([]) if {package!r} == "pandas" else studies.study_of([], "s")
except NoPackage as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"this needs {package}: pip install 'nas-service[notebook]'"
