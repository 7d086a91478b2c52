"""Trials as Optuna would have them, taken by Optuna itself."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import optuna
import pytest
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.objectives import ObjectiveForm
from nas.search.optuna import _distribution
from nas.search.study import Record, as_json, as_study_trial, in_words
from nas.space import Categorical, CellSpace, Distribution, Integer, JointSpace, LayerSpace, Real, Shape
from nas.store.states import TrialState as OurState
from tests.support import SPACE, candidate

ACCURACY = ObjectiveForm(metric="accuracy", direction="maximize")
PARAMS = ObjectiveForm(metric="params", direction="minimize")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = Record(
    index=3,
    number=5,
    phase="search",
    state="complete",
    reason=None,
    digest="d" * 64,
    epoch=2,
    candidate=candidate(1),
    accuracy=0.75,
    costs={"params": 1200.0, "macs": None},
    curve=((1, 0.5), (2, 0.75)),
    created=BEGAN,
    started=BEGAN + timedelta(seconds=1),
    finished=BEGAN + timedelta(seconds=9),
)


def taken(record: Record, *objectives: ObjectiveForm) -> FrozenTrial:
    """What Optuna makes of it: it refuses what does not go together."""
    found = as_study_trial(record, SPACE, objectives or (ACCURACY,))
    coded = {name: json_to_distribution(json.dumps(as_json(one))) for name, one in SPACE.distributions().items()}
    trial = create_trial(
        state=TrialState[found.state],
        values=found.values,
        params=found.params,
        distributions={name: coded[name] for name in found.params},
        user_attrs=found.user_attrs,
        intermediate_values=found.intermediate_values,
    )
    trial.datetime_start, trial.datetime_complete = found.datetime_start, found.datetime_complete
    trial._validate()
    optuna.create_study(directions=["maximize"] * max(1, len(objectives))).add_trial(trial)
    return trial


def test_a_complete_trial_has_its_values_parameters_and_curve() -> None:
    trial = taken(RECORD)
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [0.75])
    assert SPACE.decode(trial.params) == candidate(1)
    assert trial.intermediate_values == {1: 0.5, 2: 0.75}
    assert trial.datetime_complete == RECORD.finished
    assert trial.user_attrs == {
        "number": 5, "phase": "search", "epoch": 2, "digest": "d" * 64, "accuracy": 0.75, "params": 1200.0,
    }  # fmt: skip
    assert taken(RECORD, PARAMS, ACCURACY).values == [1200.0, 0.75]
    assert taken(RECORD, PARAMS).intermediate_values == {}  # those are accuracies, and nobody looks for them


@pytest.mark.parametrize(
    ("state", "expected", "values"),
    [
        ("queued", TrialState.RUNNING, None),
        ("running", TrialState.RUNNING, None),
        ("paused", TrialState.RUNNING, None),
        ("complete", TrialState.COMPLETE, [0.75]),
        ("pruned", TrialState.PRUNED, [0.75]),
        ("infeasible", TrialState.FAIL, None),
        ("failed", TrialState.FAIL, None),
        ("cancelled", TrialState.FAIL, None),
    ],
)
def test_every_state_is_one_of_optunas(state: str, expected: TrialState, values: list[float] | None) -> None:
    finished = (
        RECORD.finished if OurState(state) in ("complete", "pruned", "infeasible", "failed", "cancelled") else None
    )
    trial = taken(replace(RECORD, state=state, finished=finished))
    assert (trial.state, trial.values) == (expected, values)


def test_all_states_are_there() -> None:
    from nas.search.study import STATES

    assert set(STATES) == {str(state) for state in OurState}


def test_what_optuna_would_refuse_is_told_in_another_way() -> None:
    waits = taken(replace(RECORD, state="queued", started=None, finished=None, candidate=None, accuracy=None, curve=()))
    assert (waits.state, waits.params, waits.datetime_start) == (TrialState.WAITING, {}, None)
    never_begun = taken(replace(RECORD, state="infeasible", started=None, accuracy=None, curve=()))
    assert (never_begun.state, never_begun.datetime_start) == (TrialState.FAIL, BEGAN)
    assert taken(replace(RECORD, state="cancelled", finished=None)).datetime_complete == RECORD.started
    assert taken(RECORD, ACCURACY, ObjectiveForm(metric="macs", direction="minimize")).state == TrialState.FAIL
    assert taken(replace(RECORD, reason="diverged")).state == TrialState.FAIL
    assert taken(replace(RECORD, state="pruned"), ACCURACY, PARAMS).values is None
    outside = CellSpace(("conv_1x1",), 4).sample(np.random.default_rng(0))
    assert taken(replace(RECORD, candidate=outside)).params == {}


def test_distributions_are_written_as_optuna_writes_them() -> None:
    space = JointSpace(
        LayerSpace(),
        (("recipe.lr", Real(1e-4, 0.1, log=True)), ("space.channels", Integer(4, 16)), ("recipe.l1", Real(0, 1))),
    )
    found: dict[str, Distribution] = space.distributions() | {"odd": Categorical((None, True, 2, 0.5, "x"))}
    for one in found.values():
        assert as_json(one) == json.loads(distribution_to_json(_distribution(one)))


def test_parameters_are_called_what_people_call_them() -> None:
    cells = in_words(CellSpace(("skip_connect", "none"), 2, Shape()).distributions())
    assert cells["normal.2.op_a"] == "normal 2←0"
    assert cells["reduce.2.op_b"] == "reduce 2←1"
    assert cells["normal.3.sources"] == "normal 3: inputs"
    assert cells["normal.3.op_b"] == "normal 3: second operation"
    assert in_words(["layers", "layer.0.kind", "recipe.weight_decay", "space.channels"]) == {
        "layers": "layers",
        "layer.0.kind": "layer 1: kind",
        "recipe.weight_decay": "weight decay",
        "space.channels": "channels",
    }
    assert in_words(["space.dropout", "recipe.dropout"]) == {
        "space.dropout": "space.dropout", "recipe.dropout": "recipe.dropout",
    }  # fmt: skip
