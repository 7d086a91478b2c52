"""`nas jobs pareto`, `nas jobs retrain`, `nas strategies`, and what a terminal shows of a job's phases."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli import watch
from nas.client import Client, looks, shows
from nas.result.package import zip_bytes
from nas.settings import Settings
from nas.store import trials
from nas.store.artifacts import ArtifactStore
from nas.store.retrains import FIRST_NUMBER
from nas.store.session import Store
from nas.store.states import Phase, TrialState
from tests.support import LEASE_S, candidate, claim_in, digest, report, reserve

Nas = Callable[..., tuple[int, str, str]]
CANDIDATE = candidate(1)


def search(service: tuple[Client, Settings]) -> str:
    """A job of two objectives with two networks, and nobody to work on the rest; its id."""
    client, settings = service
    job_id = client.search(
        {
            "dataset": "digits",
            "strategy": "random",
            "pruning": "none",
            "objectives": ["accuracy", "params"],
            "budget": {"trials": 2, "epochs": 1},
        }
    ).id
    store = Store(settings.database_url)
    for number, (accuracy, params) in enumerate(((0.9, 2000), (0.8, 1000))):
        taken = reserve(store)
        assert taken is not None
        assert taken.job_id == job_id
        with store.write() as session:
            trials.set_candidate(session, taken, candidate(number), digest(number), trials.Costs(params, 1))
        report(store, taken, 1, accuracy)
        with store.write() as session:
            trials.finish(session, taken, TrialState.COMPLETE)
    store.close()
    return job_id


def end_retraining(settings: Settings, package: bytes | None) -> None:
    """Does a worker's part: ends the retraining that is queued, with that package or with an error."""
    store, artifacts = Store(settings.database_url), ArtifactStore(settings.artifacts_url)
    with store.write() as session:
        taken = claim_in(session, "worker", LEASE_S)
        assert taken is not None
        assert taken.phase == Phase.RETRAIN
        if package is None:
            trials.finish(session, taken, TrialState.FAILED, error="Traceback\nValueError: it is broken")
        else:
            trials.attach(session, taken, "package", artifacts.put(package))
            trials.finish(session, taken, TrialState.COMPLETE)
    store.close()


def package() -> bytes:
    """What a worker makes of a retraining, as far as the command looks at it."""
    metrics = {
        "accuracy": 0.875,
        "params": 1000,
        "macs": 2000,
        "data": {"task": "single_label"},
        "verdict": None,
        "retraining": {"text": "This is a single retraining."},
    }
    shape = {"candidate": CANDIDATE.to_json(), "genotype": {}, "darts": "Genotype(…)", "cells": 3, "channels": 4}
    return zip_bytes({"metrics.json": json.dumps(metrics).encode(), "genotype.json": json.dumps(shape).encode()})


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_pareto_set_is_a_table_of_trials_and_their_values(service: tuple[Client, Settings], nas: Nas) -> None:
    job_id = search(service)
    status, out, _ = nas("jobs", "pareto", job_id)
    assert status == 0
    for word in ("accuracy", "params", "90.00 %", "2,000", "80.00 %", "1,000"):
        assert word in out
    assert out.index("90.00 %") < out.index("80.00 %")
    assert "ready" not in out
    assert f"nas jobs retrain {job_id} TRIAL" in out


def test_a_retraining_that_nobody_waits_for_says_how_to_wait(service: tuple[Client, Settings], nas: Nas) -> None:
    job_id = search(service)
    status, out, _ = nas("jobs", "retrain", job_id, "1", "--no-wait")
    assert status == 0
    assert f"trial 1 of job {job_id} is retrained as trial {FIRST_NUMBER}" in out
    assert f"nas jobs retrain {job_id} 1 --url" in out
    assert service[0].job(job_id).trial(FIRST_NUMBER)["state"] == "queued"
    end_retraining(service[1], b"PK")


def test_a_retraining_is_waited_for_downloaded_and_summed_up(
    service: tuple[Client, Settings], nas: Nas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = search(service)
    ended: list[int] = []

    def sleep(_: float) -> None:
        """While the command sleeps, a worker works."""
        ended.append(1)
        end_retraining(service[1], package())

    monkeypatch.setattr("nas.client.shows.time.sleep", sleep)
    status, out, _ = nas("jobs", "retrain", job_id, "1", "--out", str(tmp_path / "one"))
    assert (status, len(ended)) == (0, 1)
    assert "87.50 % on test" in words(out)
    assert "no verdict This is a single retraining." in words(out)
    assert (tmp_path / "one" / "model.zip").read_bytes() == package()
    assert json.loads((tmp_path / "one" / "metrics.json").read_text())["params"] == 1000
    assert "ready" in nas("jobs", "pareto", job_id)[1]
    status, out, _ = nas("jobs", "retrain", job_id, "1", "--json", "--out", str(tmp_path / "two"))
    expected = {"job": job_id, "trial": 1, "retraining": FIRST_NUMBER, "package": str(tmp_path / "two" / "model.zip")}
    assert (status, json.loads(out)) == (0, expected)
    status, out, _ = nas("jobs", "download", job_id, "--trial", "1", "--out", str(tmp_path / "again"))
    assert status == 0
    assert "no verdict" in out
    assert (tmp_path / "again" / "model.zip").read_bytes() == package()


def test_a_retraining_that_fails_is_one_line(
    service: tuple[Client, Settings], nas: Nas, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = search(service)
    monkeypatch.setattr("nas.client.shows.time.sleep", lambda _: end_retraining(service[1], None))
    status, out, _ = nas("jobs", "retrain", job_id, "0")
    assert status == 1
    assert out.splitlines()[-1] == "the retraining failed: ValueError: it is broken"


def test_a_model_that_is_not_there_says_how_it_comes_to_be(service: tuple[Client, Settings], nas: Nas) -> None:
    job_id = search(service)
    status, _, err = nas("jobs", "download", job_id, "--trial", "0")
    assert status == 6
    assert err.startswith(f"nas: trial 0 of job {job_id} has no model yet: `nas jobs retrain {job_id} 0` trains it")
    status, _, err = nas("jobs", "retrain", job_id, "9")
    assert (status, err) == (4, f"nas: job {job_id} has no trial 9\n")


def test_strategies_are_listed_with_the_default_and_each_has_its_options(nas: Nas) -> None:
    status, out, _ = nas("strategies")
    assert status == 0
    assert "auto (default)" in words(out)
    for name in ("random", "evolution", "nsga2", "pc_darts"):
        assert name in out
    status, out, _ = nas("strategies", "evolution")
    assert status == 0
    assert "population" in out
    assert "2 to 10000" in words(out)
    assert "--set options.population=VALUE" in words(out)
    assert "it has no options" in nas("strategies", "random")[1]
    status, _, err = nas("strategies", "nope")
    assert status == 2
    assert err.startswith("nas: strategy: 'nope' is not possible: allowed: auto, random, ")


# --- what is shown of a job


def dashboard(phase: str, **more: Any) -> dict[str, Any]:
    """A dashboard, as far as a terminal shows it."""
    counted = {"finished": 1, "planned": 4}
    return {
        "job": {"phase": phase, "state": "succeeded"},
        "metric": "accuracy",
        "progress": {"trials_finished": 3, "trials_planned": 24, "elapsed_s": 60.0, "eta_s": 30.0, "fraction": 0.5},
        "counts": {"paused": 0},
        "phases": dict.fromkeys(looks.PHASES, counted),
        "best": None,
        "pareto": None,
        "supernet": None,
        "waiting": None,
    } | more


SUPERNET = {"epoch": 3, "epochs": 20, "curve": [{"alpha_entropy": 1.234, "skip_share": 0.25}]}
BARE = {"epoch": 3, "epochs": 20, "curve": [{"alpha_entropy": None, "skip_share": None}]}


@pytest.mark.parametrize(
    ("shown", "description", "figures"),
    [
        (dashboard("screening"), "scoring candidates without training", "batches 1/4, "),
        (
            dashboard("supernet", supernet=SUPERNET),
            "training the supernet",
            "epoch 3/20, entropy 1.23, skip connections 25%, ",
        ),
        (dashboard("supernet", supernet=BARE), "training the supernet", "epoch 3/20, 0"),
        (dashboard("supernet", supernet=BARE | {"curve": []}), "training the supernet", "epoch 3/20, 0"),
        (dashboard("search", counts={"paused": 7}), "searching", "trials 3/24, 7 paused at rungs, "),
        (dashboard("finalist"), "retraining the winner", "trials 3/24, retrained 1/4, "),
        (
            dashboard("search", pareto=[{}, {}], best={"accuracy": 0.5}),
            "searching",
            "trials 3/24, best 50.00 % on validation, 2 in the Pareto set, ",
        ),
        (dashboard("done"), "done", "trials 3/24, 01:00 gone, about 00:30 left"),
    ],
)
def test_each_phase_is_shown_by_what_moves_in_it(shown: dict[str, Any], description: str, figures: str) -> None:
    look = looks.look_at(shown, patient=True)
    assert look.description == description
    assert look.figures.startswith(figures)


def test_a_search_without_a_number_of_trials_shows_none() -> None:
    shown = dashboard("search")
    shown["progress"]["trials_planned"] = 100_003  # three broke a limit
    assert looks.look_at(shown, patient=True).figures.startswith("trials 3, ")


def test_every_phase_of_a_job_has_words() -> None:
    assert set(looks.PHASES) == {*map(str, Phase), "done"} - {"retrain"}


def test_a_retraining_is_shown_by_its_epochs_and_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    trial: dict[str, Any] = {"epoch": 0, "epochs": 30, "metric": "accuracy", "accuracy": None, "state": "queued"}
    shown = [
        trial,
        trial | {"state": "running", "epoch": 3, "accuracy": 0.5},
        trial | {"state": "running", "epoch": 30, "accuracy": 0.9},
        trial | {"state": "complete", "epoch": 30, "accuracy": 0.9, "metric": "r2"},
    ]

    class Retrained:
        """A job at four moments."""

        def trial(self, number: int) -> dict[str, Any]:
            return shown.pop(0)

        def dashboard(self) -> dict[str, Any]:
            return {"waiting": {"text": "no worker is alive"}}

    monkeypatch.setattr("nas.client.shows.time.sleep", lambda _: None)
    monkeypatch.setattr(shows, "LINE_S", 0.0)
    printed = io.StringIO()
    last = watch.watch_trial(Retrained(), 7, Console(file=printed, width=200))  # type: ignore[arg-type]
    assert last["state"] == "complete"
    assert [line.strip() for line in printed.getvalue().splitlines()] == [
        "0% retraining (queued): epoch 0/30, waiting: no worker is alive",
        "10% retraining (running): epoch 3/30, 50.00 % on validation",
        "99% scoring, exporting, verifying: epoch 30/30, 90.00 % on validation",
        "100% retraining (complete): epoch 30/30, R² 0.900 on validation",
    ]
