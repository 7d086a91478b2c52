"""Logs of trials: which lines are kept, of whom, and for how long."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from nas.store import control, lines, trials
from nas.store.claims import Claim
from nas.store.lines import Said
from nas.store.session import Store
from nas.store.tables import Line
from tests.support import add_job, expire, take

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def said(claim: Claim, *texts: str) -> list[Said]:
    return [
        Said(claim.job_id, claim.number, claim.attempt, AT + timedelta(seconds=index), "INFO", text)
        for index, text in enumerate(texts)
    ]


def add(store: Store, *given: Said) -> None:
    with store.write() as session:
        lines.add(session, given)


def read(store: Store, claim: Claim) -> tuple[list[str], bool]:
    with store.read() as session:
        found, cut = lines.newest(session, claim.trial_id)
        return [line.text for line in found], cut


def test_lines_come_back_in_their_order_each_with_its_trial(store: Store) -> None:
    add_job(store)
    first, second = take(store), take(store)
    add(store, *said(first, "a", "b"), *said(second, "x"), *said(first, "c"))
    assert read(store, first) == (["a", "b", "c"], False)
    assert read(store, second) == (["x"], False)
    with store.read() as session:
        [line] = lines.newest(session, second.trial_id)[0]
    assert (line.attempt, line.level, line.at) == (1, "INFO", AT)
    add(store)


def test_the_newest_lines_are_kept_and_it_is_told_that_there_were_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.store.lines.KEPT", 5)
    add_job(store)
    first, second = take(store), take(store)
    add(store, *said(second, "mine"), *said(first, *"abcde"))
    assert read(store, first) == (list("abcde"), False)
    add(store, *said(first, "f"))
    assert read(store, first) == (list("bcdef"), True)
    add(store, *said(first, *"ghijklm"))
    assert read(store, first) == (list("ijklm"), True)
    assert read(store, second) == (["mine"], False)
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Line)) == 6 + 1


def test_an_attempt_that_is_over_writes_nothing_more(store: Store) -> None:
    add_job(store)
    late = take(store)
    add(store, *said(late, "early"))
    expire(store, late.trial_id)
    trials.reap(store)
    add(store, *said(late, "not yet taken by another"))
    again = take(store)
    assert (again.trial_id, again.attempt) == (late.trial_id, 2)
    add(store, *said(again, "new"), *said(late, "late"))
    assert read(store, late)[0] == ["early", "not yet taken by another", "new"]


def test_lines_go_with_their_job(store: Store) -> None:
    job, other = add_job(store), add_job(store)
    gone = take(store)
    kept = take(store)
    if gone.job_id != job:
        gone, kept = kept, gone
    add(store, *said(gone, "a"), *said(kept, "b"))
    with store.write() as session:
        control.cancel(session, job)
        control.delete(session, job)
    add(store, *said(gone, "of a job that is not there"))
    assert read(store, gone) == ([], False)
    assert read(store, kept) == (["b"], False)
    assert kept.job_id == other


@pytest.mark.parametrize("text", ["\x00 a", "half a letter: \ud800", "é ü 漢 \U0001f600", "two\nlines", ""])
def test_any_text_can_be_kept(store: Store, text: str) -> None:
    add_job(store)
    claim = take(store)
    add(store, *said(claim, text))
    [found] = read(store, claim)[0]
    assert found == text.replace("\x00", "\\x00").replace("\ud800", "\\ud800")


def test_of_a_long_line_the_beginning_and_the_end_are_kept(store: Store) -> None:
    add_job(store)
    claim = take(store)
    add(store, *said(claim, "a" * lines.LONGEST, "b" * 3000 + "c" * 3000))
    whole, cut = read(store, claim)[0]
    assert whole == "a" * lines.LONGEST
    assert len(cut) <= lines.LONGEST
    assert cut.startswith("b" * 900)
    assert cut.endswith("c" * 900)
