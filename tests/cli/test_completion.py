"""What Tab completes: from a service, and without one."""

from collections.abc import Callable
from typing import get_args

import pytest

from cli import completion
from nas.client import Client
from nas.objectives import Metric
from nas.settings import Settings
from nas.store.states import JobState, Phase, TrialState
from tests.cli.commands import run

Nas = Callable[..., tuple[int, str, str]]


def complete(line: str, **environ: str) -> list[str]:
    """What bash is given for a command line whose last word is being typed."""
    done = run(
        [],
        _NAS_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(line.split(" ")) - 1),
        **environ,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_tab_completes_commands_jobs_data_sets_and_strategies(service: tuple[Client, Settings]) -> None:
    client, _ = service
    job = client.search(dataset="digits", strategy="random", name="a name").id
    assert "watch" in complete("nas jobs w")
    assert job in complete("nas jobs watch ", NAS_URL=client.url)
    assert complete(f"nas jobs watch {job[:6]}", NAS_URL=client.url) == [job]
    assert "digits" in complete("nas search dig", NAS_URL=client.url)
    assert "evolution" in complete("nas search digits --strategy evo", NAS_URL=client.url)
    assert complete("nas jobs figure x par") == ["pareto"]


def test_without_a_service_tab_completes_what_comes_with_the_program_and_says_nothing() -> None:
    nowhere = "http://127.0.0.1:9"
    assert complete("nas jobs watch ", NAS_URL=nowhere) == []
    assert complete("nas jobs watch ", NAS_URL="nonsense") == []
    assert complete("nas search dig", NAS_URL=nowhere) == ["digits"]
    assert complete("nas search digits --strategy evo", NAS_URL=nowhere) == ["evolution"]
    assert complete("nas search digits --op sep_conv_3", NAS_URL=nowhere) == ["sep_conv_3x3"]
    assert complete("nas search digits --start DARTS_V2", NAS_URL=nowhere) == ["DARTS_V2"]
    assert complete("nas jobs list --state pau", NAS_URL=nowhere) == ["paused"]


def test_the_words_that_tab_knows_are_those_of_the_service() -> None:
    assert tuple(map(str, JobState)) == completion.JOB_STATES
    assert tuple(map(str, TrialState)) == completion.TRIAL_STATES
    assert tuple(map(str, Phase)) == completion.PHASES
    assert get_args(Metric) == completion.METRICS


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str) -> None:
    done = run([], _NAS_COMPLETE=f"source_{shell}")
    assert "complete" in done.stdout
