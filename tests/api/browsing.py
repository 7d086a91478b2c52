"""Browsers in tests of the API: they log in with a key, and send a cookie from then on."""

from dataclasses import dataclass, replace
from http.cookies import SimpleCookie
from typing import Any

import httpx
from sqlalchemy import func, select

from nas.store.session import Store
from nas.store.tables import Login
from tests.api.client import ApiClient

NOT_LOGGED_IN = {"login": False, "required": True, "owner": None, "scope": None, "csrf": None}


@dataclass(frozen=True)
class Browser:
    """Sends a cookie instead of a key, and the CSRF token if it has one."""

    api: ApiClient
    token: str
    csrf: str | None

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        headers = {"Cookie": f"theme=dark; nas_session={self.token}"} | dict(options.pop("headers", None) or {})
        if self.csrf is not None:
            headers = {"X-CSRF-Token": self.csrf} | headers
        return replace(self.api, key=None).request(method, url, headers=headers, **options)

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        return self.request("POST", url, **options)


def ask(api: ApiClient, key: str | None, **options: Any) -> httpx.Response:
    answer = replace(api, key=None).post("/session", json={"key": key}, **options)
    api.http.cookies.clear()  # the client would send it by itself, with whatever is asked for next
    return answer


def cookie_of(answer: httpx.Response) -> Any:
    [header] = answer.headers.get_list("Set-Cookie")
    [morsel] = SimpleCookie(header).values()
    return morsel


def log_in(api: ApiClient, key: str | None = None) -> Browser:
    answer = ask(api, api.key if key is None else key)
    assert answer.status_code == 200, answer.text
    return Browser(api, cookie_of(answer).value, answer.json()["csrf"])


def rows(store: Store) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(Login)) or 0
