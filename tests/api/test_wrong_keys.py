"""Whoever tries keys at the login: what is refused, and how many tries there are."""

import json
from dataclasses import replace

import pytest

from api.access import is_open
from api.limits import Tries
from nas.errors import TooMany
from tests.api.browsing import ask, log_in, rows
from tests.api.client import ApiClient, fault, problem


@pytest.fixture
def ada(api: ApiClient) -> ApiClient:
    """Somebody with a key that writes."""
    return api.of("ada")


def test_wrong_keys_are_refused_and_not_many_of_them(ada: ApiClient) -> None:
    for wrong in ("", "x", "nas_x", str(ada.key)[:-1], f"{ada.key}x", "é", "a b", "Bearer x", "\x00", "x" * 200):
        problem(ask(ada, wrong), 401, "not valid")
    answer = ask(ada, ada.key)
    problem(answer, 429, "10 keys")
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert rows(ada.store) == 0
    assert ada.get("/v1/jobs").status_code == 200  # whoever has a key goes on


def test_right_keys_are_no_tries(ada: ApiClient) -> None:
    for _ in range(12):
        log_in(ada)


def test_what_is_no_login_is_told_so(ada: ApiClient) -> None:
    bodies: tuple[object, ...] = ({}, {"key": None}, {"key": 1}, {"key": "x" * 501}, [], "key")
    for body in bodies:
        answer = replace(ada, key=None).post("/session", json=body)
        fault(answer, "key" if isinstance(body, dict) else "body")


def test_half_a_letter_is_no_key(ada: ApiClient) -> None:
    answer = replace(ada, key=None).post(
        "/session", content=json.dumps({"key": "\ud800"}), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (401, 422)


def test_only_to_log_in_needs_no_key() -> None:
    assert is_open("/session", "POST")
    assert not any(is_open("/session", method) for method in ("GET", "DELETE", "PUT", "post", "HEAD"))
    assert not is_open("/session/x", "POST")


def test_tries_are_counted_by_the_minute_and_by_the_network() -> None:
    moment = [0.0]
    tries = Tries(3, clock=lambda: moment[0])
    for _ in range(3):
        tries.take("203.0.113.7")
    with pytest.raises(TooMany) as refused:
        tries.take("203.0.113.7")
    assert refused.value.retry_after_s == 60.0
    tries.take("203.0.113.8")
    for last in range(3):
        tries.take(f"2001:db8::{last}")
    with pytest.raises(TooMany):
        tries.take("2001:db8::ffff:1")
    tries.take("2001:db8:0:1::1")
    moment[0] = 59.0
    with pytest.raises(TooMany):
        tries.take("203.0.113.7")
    moment[0] = 60.0
    tries.take("203.0.113.7")
    tries.forgive("203.0.113.7")
    for _ in range(3):
        tries.take("203.0.113.7")


def test_one_process_counts_so_many_addresses_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.limits.COUNTED", 3)
    tries = Tries()
    for last in range(9):
        tries.take(f"203.0.113.{last}")
    assert len(tries._tried) == 3
