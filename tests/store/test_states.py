"""The states of jobs and trials."""

from itertools import pairwise

import pytest

from nas.errors import IllegalTransition
from nas.store.states import (
    ACTIVE_JOB,
    ACTIVE_TRIAL,
    FINISHED_TRIAL,
    JOB_NEXT,
    TRIAL_NEXT,
    JobState,
    TrialState,
    advance,
)
from nas.store.tables import Job

# The drawing in ARCHITECTURE.md, "States"; a job can be paused wherever it is active, and extended as well.
JOB_ARROWS = """
queued → running → finalizing → succeeded
queued → failed
queued → cancelled
running → failed
running → cancelled
finalizing → failed
finalizing → cancelled
queued → paused → queued
running → paused → running
finalizing → paused → finalizing
finalizing → running
paused → cancelled
succeeded → running
failed → running
cancelled → running
"""
TRIAL_ARROWS = """
queued → running → complete
running → pruned
running → infeasible
running → failed
running → cancelled
running → queued
running → paused → running
paused → pruned
paused → cancelled
queued → cancelled
"""


def arrows(drawing: str) -> set[tuple[str, str]]:
    chains = [line.split(" → ") for line in drawing.strip().splitlines()]
    return {arrow for chain in chains for arrow in pairwise(chain)}


def test_every_state_of_a_job_has_a_row_and_leads_to_states_of_jobs() -> None:
    assert set(JOB_NEXT) == set(JobState)
    assert all(isinstance(state, JobState) for following in JOB_NEXT.values() for state in following)


def test_every_state_of_a_trial_has_a_row_and_leads_to_states_of_trials() -> None:
    assert set(TRIAL_NEXT) == set(TrialState)
    assert all(isinstance(state, TrialState) for following in TRIAL_NEXT.values() for state in following)


def test_the_tables_are_the_drawing() -> None:
    assert {(a, b) for a, following in JOB_NEXT.items() for b in following} == arrows(JOB_ARROWS)
    assert {(a, b) for a, following in TRIAL_NEXT.items() for b in following} == arrows(TRIAL_ARROWS)


def test_nothing_follows_a_terminal_state() -> None:
    assert set(JobState) - set(ACTIVE_JOB) == {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
    assert set(FINISHED_TRIAL) == set(TrialState) - {TrialState.QUEUED, TrialState.RUNNING, TrialState.PAUSED}
    assert set(ACTIVE_TRIAL) == {TrialState.QUEUED, TrialState.RUNNING, TrialState.PAUSED}


def test_every_state_can_be_reached() -> None:
    assert {state for following in JOB_NEXT.values() for state in following} | {JobState.QUEUED} == set(JobState)
    assert {state for following in TRIAL_NEXT.values() for state in following} == set(TrialState)


@pytest.mark.parametrize("start", JobState)
@pytest.mark.parametrize("to", JobState)
def test_a_job_advances_along_the_table_only(start: JobState, to: JobState) -> None:
    job = Job(id="abc", state=start)
    if to in JOB_NEXT[start]:
        advance(job, to)
        assert job.state == to
    else:
        with pytest.raises(IllegalTransition, match=f"^job abc is {start}; it cannot become {to}$"):
            advance(job, to)
        assert job.state == start
