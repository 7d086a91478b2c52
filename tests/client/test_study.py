"""A job as an Optuna study: in memory, and in a storage that Optuna's tools open."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from nas.client.studies import export_study
from nas.errors import InvalidInput
from tests.client.conftest import Both, Service
from tests.client.jobs import RANDOM, work
from tests.support import take


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Far from UTC."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_a_study_has_all_trials_as_optuna_knows_them(
    both: Both, service: Service, tokyo: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = both.do(both.client.search(RANDOM, budget={"trials": 6, "epochs": 3}))
    work(service)
    take(service.store)
    monkeypatch.setattr("nas.client.calls.PAGE", 2)
    study = both.do(job.study())
    assert study.study_name == f"nas-{job.id}"
    assert [trial.state for trial in study.trials] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.RUNNING,
    ]
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3, 4]
    assert (study.best_trial.number, study.best_value) == (1, 0.8)
    assert study.metric_names == ["accuracy"]
    best = study.best_trial
    assert best.intermediate_values == {1: 0.8, 2: 0.8, 3: 0.8}
    assert set(best.params) == set(best.distributions)
    assert best.user_attrs["number"] == 1
    frame = both.do(job.trials())
    assert best.datetime_start is not None
    assert best.datetime_start.astimezone() == frame["started_at"][1]
    assert abs(best.datetime_start - datetime.now()) < timedelta(hours=1), "as Optuna writes them"
    assert best.duration is not None
    assert best.duration.total_seconds() >= 0


def test_an_objective_that_is_to_be_small_is_minimised(both: Both, service: Service) -> None:
    job = both.do(both.client.search(RANDOM, objectives=["accuracy", "params"]))
    work(service)
    study = both.do(job.study())
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    front = {member["trial"] for member in both.do(job.pareto())["items"]}
    assert {trial.number for trial in study.best_trials} == front


def test_an_empty_study_is_one_too(both: Both) -> None:
    assert both.do(both.do(both.client.search(RANDOM)).study()).trials == []


def test_a_study_is_copied_once(both: Both, service: Service, folder: Path) -> None:
    job = both.do(both.client.search(RANDOM))
    work(service)
    assert both.do(job.export("sqlite:///study.db")) == f"nas-{job.id}"
    copied = optuna.load_study(study_name=f"nas-{job.id}", storage="sqlite:///study.db")
    for ours, theirs in zip(both.do(job.study()).trials, copied.trials, strict=True):
        assert (theirs.state, theirs.params, theirs.values) == (ours.state, ours.params, ours.values)
        assert (theirs.intermediate_values, theirs.user_attrs) == (ours.intermediate_values, ours.user_attrs)
        assert (theirs.datetime_start, theirs.datetime_complete) == (ours.datetime_start, ours.datetime_complete)
    with pytest.raises(InvalidInput, match=r"study_name: 'nas-.*' is not possible: .*another study_name.*replace=True"):
        both.do(job.export("sqlite:///study.db"))
    assert both.do(job.export("sqlite:///study.db", "second")) == "second"
    both.do(job.export("sqlite:///study.db", replace=True))
    names = optuna.get_all_study_names("sqlite:///study.db")
    assert sorted(names) == [f"nas-{job.id}", "second"]


def test_a_study_never_goes_into_another_programs_database(both: Both, service: Service) -> None:
    job = both.do(both.client.search(RANDOM))
    with pytest.raises(InvalidInput, match=r"optuna_url: .*another program's tables"):
        both.do(job.export(service.settings.database_url))
    with pytest.raises(InvalidInput, match=r"optuna_url: 'nonsense' .*sqlite:///study\.db"):
        both.do(job.export("nonsense"))
    with pytest.raises(InvalidInput) as caught:
        both.do(job.export("nosuchkind://user:hush@host/db"))
    assert "hush" not in str(caught.value)


def test_a_copy_that_breaks_off_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.add_trial(optuna.trial.create_trial(value=1.0))

    def broken(**names: object) -> None:
        optuna.create_study(study_name=str(names["to_study_name"]), storage=names["to_storage"])  # type: ignore[arg-type]
        raise OSError("no space")

    monkeypatch.setattr(optuna, "copy_study", broken)
    with pytest.raises(OSError, match="no space"):
        export_study(study, "sqlite:///study.db", "one", replace=False)
    assert optuna.get_all_study_names("sqlite:///study.db") == []


def test_optuna_is_as_talkative_as_before(both: Both, capsys: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    job = both.do(both.client.search(RANDOM))
    both.do(job.study())
    assert capsys.readouterr().err == ""
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    optuna.logging.set_verbosity(optuna.logging.WARNING)
