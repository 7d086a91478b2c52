"""The dashboard's pages as a browser gets them: one shell, its files, and nothing of anybody else's."""

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.main import create_app
from api.web.pages import KINDS, PATHS, POLICY, STATIC, digest
from nas.settings import Settings
from tests.api.client import ApiClient, calling, problem
from tests.support import database

ADDRESSES = ["/", "/new", "/new?clone=abc", "/datasets", "/login?next=%2F", "/jobs/3cd14fbb6bd3", "/jobs/3cd1/trials/7"]
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())
OURS = [name for name in FILES if not name.startswith("vendor/")]
SCRIPTS = [name for name in OURS if name.endswith(".js")]
NAMESPACES = "http://www.w3.org/"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    home = tmp_path_factory.mktemp("pages")
    given = {"NAS_HOME": str(home), "NAS_DATABASE_URL": database("sqlite", home)}
    with calling(create_app(Settings.read(given))) as client:
        yield client


@dataclass(frozen=True)
class Seen:
    """An element of a page: its tag, attributes, and the text right after it began."""

    tag: str
    attributes: dict[str, str | None]
    text: list[str]


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[Seen] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(Seen(tag, dict(attrs), []))

    def handle_data(self, data: str) -> None:
        if self.seen and data.strip():
            self.seen[-1].text.append(data.strip())

    def loaded(self) -> list[str]:
        """The addresses of scripts, styles and pictures."""
        named = [each.attributes.get("src") for each in self.seen]
        named += [each.attributes.get("href") for each in self.seen if each.tag == "link"]
        return [name for name in named if name is not None]


def asked(api: ApiClient, **scope: str) -> httpx.Response:
    """The answer to a request with another path or root, as a server might put it, which no client tidies up before."""
    app: Any = api.http._transport.app  # type: ignore[attr-defined]  # the same app

    async def changed(given: Any, receive: Any, send: Any) -> None:
        await app(given | scope, receive, send)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(changed), base_url="http://test") as http:
            return await http.get("/new")

    return api.portal.call(ask)


def read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def at(name: str, version: str | None = None) -> str:
    return f"/static/{version or digest()}/{name}"


# --- the shell


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_of_a_page_has_the_same_shell(api: ApiClient, address: str) -> None:
    answer = api.get(address)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.text == api.get("/").text
    assert answer.headers["Cache-Control"] == "no-store"  # a new version of the service is seen at once
    head = api.request("HEAD", address)
    assert (head.status_code, head.headers["Content-Security-Policy"]) == (200, POLICY)


def test_the_script_knows_every_page_and_no_other() -> None:
    shown = dict(re.findall(r'\[/\^(.+?)\$/, "(\w+)"\]', read("js/app.js")))
    patterns = [re.compile(re.sub(r"\(\?<", "(?P<", form.replace(r"\/", "/")) + "$") for form in shown]
    assert len(patterns) == len(PATHS)
    for path in PATHS:
        address = path.replace("{job}", "abc").replace("{trial}", "3")
        assert sum(pattern.match(address) is not None for pattern in patterns) == 1, address
    assert {f"js/pages/{name}.js" for name in shown.values()} == {name for name in FILES if "js/pages/" in name}


def test_pages_may_load_and_run_the_services_own_files_only(api: ApiClient) -> None:
    allowed = dict(part.strip().split(" ", 1) for part in POLICY.split(";"))
    assert allowed["default-src"] == "'none'"
    assert {word for words in allowed.values() for word in words.split()} == {"'none'", "'self'", "data:", "blob:"}
    assert allowed["script-src"] == allowed["style-src"] == allowed["connect-src"] == "'self'"
    for address in (*ADDRESSES, "/docs"):
        assert api.get(address).headers["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize("address", ["/", "/docs"])
def test_what_a_page_names_is_there(api: ApiClient, address: str) -> None:
    page = Page(api.get(address).text)
    assert len(page.loaded()) >= 4
    for name in page.loaded():
        assert name.startswith(f"/static/{digest()}/")
        assert api.get(name).status_code == 200, name


@pytest.mark.parametrize("address", ["/", "/docs"])
def test_a_page_has_no_script_and_no_style_in_itself(api: ApiClient, address: str) -> None:
    for element in Page(api.get(address).text).seen:
        assert element.tag != "style"
        assert element.tag != "script" or (element.attributes.get("src") and not element.text)
        assert not [name for name in element.attributes if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("root", ["/nas", '/a"><script>alert(1)</script>'])
def test_below_another_root_every_address_begins_with_it(api: ApiClient, root: str) -> None:
    page = Page(asked(api, root_path=root).text)
    assert page.seen[0].attributes["data-root"] == root
    assert all(name.startswith(f"{root}/static/") for name in page.loaded())
    links = [each.attributes["href"] or "" for each in page.seen if each.tag == "a"]
    assert all(link.startswith((f"{root}/", "#")) for link in links)
    assert not [each for each in page.seen if each.tag == "script" and each.text]


def test_pages_need_no_key_and_tell_nothing(tmp_path: Path) -> None:
    given = {"NAS_HOME": str(tmp_path), "NAS_DATABASE_URL": database("sqlite", tmp_path)}
    with calling(create_app(Settings.read(given))) as api:
        before = api.get("/").text
        api.of("ada")
        for address in (*ADDRESSES, "/docs", "/favicon.ico", at("js/app.js")):
            assert api.get(address).status_code == 200, address
        assert api.get("/").text == before
        problem(api.get("/v1/jobs"), 401)


# --- files


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_served_as_it_is_packed_or_not(api: ApiClient, name: str) -> None:
    content = (STATIC / name).read_bytes()
    plain = api.get(at(name), headers={"Accept-Encoding": "identity"})
    assert (plain.status_code, plain.content) == (200, content)
    assert plain.headers["Content-Type"] == KINDS[Path(name).suffix]
    assert "Content-Encoding" not in plain.headers
    packed = api.get(at(name), headers={"Accept-Encoding": "br, gzip;q=0.8"})
    assert packed.content == content  # httpx has unpacked it
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(gzip.compress(content)) * 0.9 < int(packed.headers["Content-Length"]) < max(len(content) * 0.9, 400)
    for answer in (plain, packed):
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "gzip; q=0.000", "identity, xgzip"])
def test_who_does_not_take_it_packed_gets_it_plain(api: ApiClient, accepted: str) -> None:
    answer = api.get(at("js/app.js"), headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in answer.headers
    assert answer.text == read("js/app.js")


def test_a_file_under_its_version_is_kept_for_good_and_under_another_is_asked_for_again(api: ApiClient) -> None:
    own, other = api.get(at("js/app.js")), api.get(at("js/app.js", "0123456789abcdef"))
    assert "immutable" in own.headers["Cache-Control"]
    assert other.headers["Cache-Control"] == "no-cache"  # a page that was loaded before the service was changed
    assert own.content == other.content
    tag = own.headers["ETag"]
    again = api.get(at("js/app.js", "old"), headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert api.get(at("js/app.js"), headers={"If-None-Match": 'W/"other"'}).status_code == 200
    assert api.get(at("js/dom.js")).headers["ETag"] != tag


def test_the_head_of_a_file_is_that_of_its_get(api: ApiClient) -> None:
    for path in (at("js/app.js"), "/favicon.ico"):
        got, head = api.get(path), api.request("HEAD", path)
        assert head.status_code == 200
        for name in ("Content-Type", "Content-Length", "Cache-Control", "ETag", "Content-Encoding"):
            assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize(
    "path",
    [
        "js/nope.js",
        "js",
        "",
        "js/",
        "../pages.py",
        "js/../../pages.py",
        "%2e%2e/pages.py",
        "/etc/passwd",
        "js/./app.js",
        "js//app.js",
        "js\\app.js",
        "js/app.js\0",
    ],
)
def test_what_is_no_file_of_the_pages_is_not_found(api: ApiClient, path: str) -> None:
    problem(asked(api, path=at(path)), 404)


def test_a_page_that_is_none_is_not_found(api: ApiClient) -> None:
    for path in ("/nope", "/jobs", "/jobs/x/trials", "/jobs/x/y", "/static", "/redoc"):
        problem(api.get(path), 404)


def test_a_person_who_comes_to_no_page_is_shown_the_way_and_a_program_is_told(api: ApiClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/nope", "/jobs", "/jobs/x/y", "/nope/"):
        answer = api.get(path, headers=browser)
        assert (answer.status_code, answer.headers["Vary"]) == (404, "Accept")
        assert (answer.text, answer.headers["Content-Security-Policy"]) == (api.get("/").text, POLICY)
        assert api.request("HEAD", path, headers=browser).status_code == 404
    for path in ("/v1/nope", "/v1/jobs/nope", "/static/x/nope.js"):
        problem(api.get(path, headers=browser), 404)
    problem(api.request("POST", "/nope", headers=browser), 404)
    assert api.get("/new/", headers=browser).is_redirect  # a slash too many is no other page


# --- with the network cut


@pytest.mark.parametrize("name", OURS)
def test_no_file_names_another_host(name: str) -> None:
    found = re.findall(r"""(?:https?:)?//[a-z0-9][a-z0-9.-]*\.[a-z]{2,}[^\s"'`)]*""", read(name))
    assert [address for address in found if not address.startswith(NAMESPACES)] == []
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:)", read(name))


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".css")])
def test_no_style_loads_anything(name: str) -> None:
    assert "@import" not in read(name)
    assert [
        found for found in re.findall(r"url\(\s*['\"]?([^'\")]*)", read(name)) if not found.startswith("data:")
    ] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_imports_is_a_file_of_ours(name: str) -> None:
    text = read(name)
    for wanted in re.findall(r"""^(?:import|export)\b[^;"'=()]*?["']([^"']+)["'];$""", text, re.MULTILINE):
        assert wanted.startswith(("./", "../")), wanted
        assert (STATIC / name).parent.joinpath(wanted).resolve().relative_to(STATIC).as_posix() in FILES, wanted
    dynamic = re.findall(r"import\(([^)]*)\)", text)
    assert dynamic == (["`./pages/${name}.js`"] if name == "js/app.js" else [])


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_imports_by_name_is_exported_there(name: str) -> None:
    for names, wanted in re.findall(r"""import \{([^}]*)\} from ["']([^"']+)["']""", read(name)):
        there = (STATIC / name).parent.joinpath(wanted).resolve().read_text(encoding="utf-8")
        exported = set(re.findall(r"^export (?:async )?(?:function\*?|const|let|class) (\w+)", there, re.MULTILINE))
        exported |= {
            part.strip()
            for found in re.findall(r"^export \{([^}]*)\}", there, re.MULTILINE)
            for part in found.split(",")
        }
        assert {part.split(" as ")[0].strip() for part in names.split(",") if part.strip()} <= exported


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_reads_text_as_html_or_as_code(name: str) -> None:
    found = re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", read(name))
    assert found == []


def test_every_file_of_others_has_its_licence_beside_it() -> None:
    for name in FILES:
        if name.startswith("vendor/") and not name.endswith(".LICENSE.txt"):
            assert f"{name.split('.')[0]}.LICENSE.txt" in FILES, name
    assert "Copyright" in read("vendor/d3.LICENSE.txt")
    assert "Apache License" in read("vendor/swagger-ui.LICENSE.txt")


def test_the_documentation_asks_the_service_and_nobody_else() -> None:
    assert "openapi.json" in read("js/docs.js")
    assert "validatorUrl: null" in read("js/docs.js")  # by default it sends the document to swagger.io
