"""`--set FIELD=VALUE`, and the other ways in which a command line says what to search."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.fields import LISTS, put
from nas.client import Client
from nas.errors import InvalidInput
from nas.settings import Settings
from nas.space import known
from nas.spec import JobSpec
from nas.store import trials
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store
from tests.support import reserve


def putting(*assignments: str, **spec: Any) -> dict[str, Any]:
    for assignment in assignments:
        put(spec, assignment)
    return spec


# --- values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.05", 0.05),
        ("1e-3", 0.001),
        ("-2", -2),
        ("8", 8),
        ("true", True),
        ("false", False),
        ("null", None),
        ("adamw", "adamw"),
        ("True", "True"),  # JSON writes it small
        ("", ""),
        (" adamw ", "adamw"),
        ("a=b", "a=b"),
        ("adamw,sgd", {"choices": ["adamw", "sgd"]}),
        ("adamw, sgd", {"choices": ["adamw", "sgd"]}),
        ("0.1,0.2", {"choices": [0.1, 0.2]}),
        ("null,1.5", {"choices": [None, 1.5]}),
        ("true,false", {"choices": [True, False]}),
        ("8..32", {"low": 8, "high": 32}),
        ("0.01..0.3", {"low": 0.01, "high": 0.3}),
        ("0.01..0.3:log", {"low": 0.01, "high": 0.3, "log": True}),
        ("1e-4..1e-1:log", {"low": 1e-4, "high": 0.1, "log": True}),
        ("-4..4", {"low": -4, "high": 4}),
        ("a..b", {"low": "a", "high": "b"}),  # the service says which of the two is no number
        ("0.1..0.3:lin", "0.1..0.3:lin"),
        ("..", ".."),
        ("1..", "1.."),
        ("[1, 3]", [1, 3]),
        ('{"choices": [1, 3]}', {"choices": [1, 3]}),
        ('{"low": 1, "high": 3}', {"low": 1, "high": 3}),
        ('"a,b"', "a,b"),
        ('"1..2"', "1..2"),
        ('"8"', "8"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("1e999", "1e999"),
        ("0.1..1e999", {"low": 0.1, "high": "1e999"}),
        ("9" * 5000, "9" * 5000),
        ("[" * 100_000, "[" * 100_000),
    ],
    ids=lambda part: str(part)[:20],
)
def test_a_value_is_json_a_choice_a_range_or_text(text: str, value: object) -> None:
    found = putting(f"recipe.lr={text}")["recipe"]["lr"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("field", LISTS)
def test_a_field_that_takes_a_list_gets_one(field: str) -> None:
    *parents, name = field.split(".")
    for text, value in (("a,b", ["a", "b"]), ("3,5", [3, 5]), ("3", [3]), ("[3]", [3]), ("a", ["a"]), ("[]", [])):
        inside = {name: value}
        assert putting(f"{field}={text}") == ({parents[0]: inside} if parents else inside)


def test_the_fields_that_take_lists_are_all_of_a_jobs_space_and_recipe_and_its_objectives() -> None:
    spec = JobSpec(dataset="digits").model_dump(mode="json")
    inside = [
        f"{part}.{name}"
        for part in ("space", "recipe")
        for name, value in spec[part].items()
        if isinstance(value, list)
    ]
    assert sorted(LISTS) == sorted([*inside, "objectives"])


def test_strategy_pruning_objectives_and_budgets_are_said_as_everything_else() -> None:
    spec = putting(
        "strategy=evolution",
        "options.population=50",
        "pruning=none",
        "objectives=accuracy,latency_ms",
        "screening=5",
        "budget.total_epochs=500",
        "budget.target=0.99",
        dataset="digits",
    )
    whole = JobSpec.model_validate(spec)
    assert (whole.strategy, whole.options, whole.pruning.method) == ("evolution", {"population": 50}, "none")
    assert [(found.metric, found.direction) for found in whole.objectives] == [
        ("accuracy", "maximize"),
        ("latency_ms", "minimize"),
    ]
    assert (whole.screening, whole.budget.total_epochs, whole.budget.target) == (5, 500, 0.99)
    one = JobSpec.model_validate(putting("objectives=macs", "pruning.method=median", "pruning.eta=4", dataset="digits"))
    assert [found.metric for found in one.objectives] == ["macs"]
    assert (one.pruning.method, one.pruning.eta) == ("median", 4)
    turned = putting('objectives=[{"metric": "params", "direction": "maximize"}]', dataset="digits")
    assert JobSpec.model_validate(turned).objectives[0].sign == 1


def test_what_is_put_is_a_job() -> None:
    spec = putting(
        "recipe.lr=0.001..0.2:log",
        "space.activation=relu,silu",
        "space.channels=8..32",
        "space.ops=skip_connect,conv_3x3",
        "recipe.milestones=0.3,0.6",
        "limits.max_params=200000",
        "tensorboard=true",
        dataset="digits",
    )
    whole = JobSpec.model_validate(spec)
    assert [name for name, _ in whole.search_space().parameters] == [  # type: ignore[union-attr]
        "space.channels",
        "space.activation",
        "recipe.lr",
    ]
    assert (whole.space.ops, whole.recipe.milestones) == (("skip_connect", "conv_3x3"), (0.3, 0.6))  # type: ignore[attr-defined]
    assert (whole.limits.max_params, whole.tensorboard) == (200_000, True)


# --- names


def test_a_value_stands_where_its_name_says_beside_what_was_there() -> None:
    spec = putting(
        "space.channels=4", "name=mine", " recipe.lr = 0.1 ", "recipe.lr=0.2", space={"nodes": 2}, dataset="digits"
    )
    assert spec == {
        "dataset": "digits",
        "space": {"nodes": 2, "channels": 4},
        "name": "mine",
        "recipe": {"lr": 0.2},
    }


@pytest.mark.parametrize("assignment", ["recipe.lr", "", "=1", ".lr=1", "recipe.=1", "recipe..lr=1", " =1"])
def test_what_is_no_assignment_is_refused_with_examples(assignment: str) -> None:
    with pytest.raises(InvalidInput, match=r"FIELD=VALUE, such as recipe\.lr=0\.05") as caught:
        putting(assignment)
    assert (caught.value.field, caught.value.value) == ("--set", assignment)


def test_a_field_within_a_value_is_refused() -> None:
    with pytest.raises(InvalidInput, match="name has been given a value already"):
        putting("name=mine", "name.first=my")
    with pytest.raises(InvalidInput, match="ops has been given a value already"):
        putting("space.ops.0=conv_3x3", space={"ops": ["none"]})


# --- the command


def test_search_posts_what_its_options_say(
    service: tuple[Client, Settings], nas: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, _ = nas(
        "search",
        "digits",
        *("--op=skip_connect", "--op=conv_3x3", "--nodes=2", "--trials=5", "--tensorboard"),
        *("--set", "recipe.lr=0.001..0.2:log", "--set", "space.activation=relu,silu", "--set", "space.cells=3"),
        *("--start", "DARTS_V2", "--start", "NASNet"),
        *("--strategy", "tpe", "--set", "options.startup=5", "--pruning", "median", "--seconds", "600"),
        *("--objective", "accuracy", "--objective", "params", "--total-epochs", "500", "--target", "0.99"),
    )
    assert (status, "the job cancelled: cancelled by the user" in out) == (1, True)
    spec = service[0].job(out.split()[1]).details()["spec"]
    assert spec["recipe"]["lr"] == {"low": 0.001, "high": 0.2, "log": True}
    assert spec["space"]["activation"] == {"choices": ["relu", "silu"]}
    assert (spec["space"]["ops"], spec["space"]["nodes"]) == (["skip_connect", "conv_3x3"], 2)
    assert (spec["space"]["cells"], spec["budget"]["trials"]) == (3, 5)
    assert spec["start"] == [known("DARTS_V2").to_json(), known("NASNet").to_json()]
    assert spec["tensorboard"] is True
    assert (spec["strategy"], spec["options"]["startup"], spec["pruning"]["method"]) == ("tpe", 5, "median")
    assert [objective["metric"] for objective in spec["objectives"]] == ["accuracy", "params"]
    budget = spec["budget"]
    assert (budget["total_epochs"], budget["seconds"], budget["target"]) == (500, 600, 0.99)
    assert spec["transfer"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "nope"], "nas: transfer.job: 'nope' is not possible: there is no job 'nope'"),
        (["--start", "DARTS_V9"], "nas: start.0: 'DARTS_V9' is not possible: no published genotype is called"),
        (["--set", "recipe.lr"], "nas: --set: 'recipe.lr' is not possible: it has to be FIELD=VALUE"),
        (["--set", "recipe.lr=fast"], "nas: recipe.lr: 'fast' is not possible"),
        (["--set", "recipe.lr=NaN"], "nas: recipe.lr: 'NaN' is not possible"),
        (["--set", "recipe.lr=0.1..x"], "nas: recipe.lr.high: 'x' is not possible"),
        (["--set", "recipe.momentun=0.1"], "nas: recipe.momentun: 0.1 is not possible: there is no such field"),
        (["--strategy", "best"], "nas: strategy: 'best' is not possible: allowed: auto, "),
        (["--set", "options.population=5"], "nas: options.population: 5 is not possible: there is no such field"),
        (["--set", "pruning=never"], "nas: pruning.method: 'never' is not possible: it has to be 'halving', "),
        (["--objective", "speed"], "nas: objectives.0.metric: 'speed' is not possible: it has to be 'accuracy', "),
        (["--set", "limits.max_params=10"], "nas: limits.max_params: 10 is not possible: the smallest network"),
    ],
)
def test_what_is_not_possible_is_one_line(
    nas: Callable[..., tuple[int, str, str]], arguments: list[str], says: str
) -> None:
    status, _, err = nas("search", "digits", *arguments)
    assert status == 2
    assert err.startswith(says)
    assert err.count("\n") == 1


def test_logs_are_unpacked_into_one_folder_a_trial(
    service: tuple[Client, Settings], nas: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    client, settings = service
    job_id = client.search({"dataset": "digits", "strategy": "random", "tensorboard": True}).id
    status, _, err = nas("jobs", "logs", job_id, "--out", str(tmp_path / "none"))
    assert (status, err) == (6, f"nas: job {job_id} has no TensorBoard logs: its trials write them\n")
    assert not (tmp_path / "none").exists()
    store, artifacts = Store(settings.database_url), ArtifactStore(settings.artifacts_url)
    for number in range(2):
        taken = reserve(store)
        assert taken is not None
        assert taken.job_id == job_id
        with store.write() as session:
            trials.attach(session, taken, "tensorboard", artifacts.put(f"events {number}".encode()))
    store.close()
    folder = tmp_path / "logs"
    status, out, _ = nas("jobs", "logs", job_id, "--out", str(folder))
    assert (status, out.strip()) == (0, f"tensorboard --logdir {folder}")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert [path.parent.name for path in files] == ["00000-search", "00001-search"]
    assert [path.read_text() for path in files] == ["events 0", "events 1"]
    assert all(path.name.startswith("events.out.tfevents.") for path in files)
