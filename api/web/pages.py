"""The dashboard's pages: one HTML shell for all of them, the API's documentation, and the files that they load.

The shell tells nothing of anybody and needs no key; what a page shows, its script asks the API for.
"""

import gzip
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Final, cast

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException

from api.parameters import PROBLEM
from nas.errors import NotFound

STATIC: Final = Path(__file__).parent / "static"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load and run: the service's own files. No inline script, no inline style, nobody else's host."""

FOREVER: Final = "public, max-age=31536000, immutable"

PATHS: Final = ("/", "/new", "/datasets", "/login", "/jobs/{job}", "/jobs/{job}/trials/{trial}")
"""The pages, each under an address of its own that can be kept and sent on; js/app.js knows what they show."""

KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""The media type by the end of a file's name; a system's own table may say otherwise. All of them are text."""

READ: Final = ("GET", "HEAD")

NO_PAGES: Final = ("/v1/", "/static/")
"""What programs ask for and no person types: a problem document is the answer, whoever asks."""

router = APIRouter(include_in_schema=False)


def shell(request: Request) -> Response:
    """The page, whichever it is."""
    return _page(request, "index.html")


for _path in PATHS:
    router.add_api_route(_path, shell, methods=[*READ])


@router.api_route("/docs", methods=[*READ])
def docs(request: Request) -> Response:
    """The API's documentation, to be read and tried out."""
    return _page(request, "docs.html")


@router.api_route("/favicon.ico", methods=[*READ])
def favicon(request: Request) -> Response:
    """Browsers ask for it by themselves."""
    return _send(request, "favicon.svg", FOREVER)


@router.api_route("/static/{version}/{path:path}", methods=[*READ], responses={404: PROBLEM})
async def static(request: Request, version: str, path: str) -> Response:  # async: FastAPI would take a thread for each
    """A file of the pages. Under the digest of all of them it never changes, and is asked for once."""
    return _send(request, path, FOREVER if version == digest() else "no-cache")


def install(app: FastAPI) -> None:
    """Shows people who come to an address that is none a page that says so; programs get their problem document.

    After api.errors has installed what the app answers otherwise.
    """
    told = cast("Callable[[Request, Exception], Awaitable[Response]]", app.exception_handlers[HTTPException])

    async def nowhere(request: Request, error: Exception) -> Response:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        if request.method not in READ or path.startswith(NO_PAGES) or not _wants_page(request):
            return await told(request, error)
        answer = shell(request)  # its script says that there is no such page, and where the others are
        answer.status_code = HTTPStatus.NOT_FOUND
        answer.headers["Vary"] = "Accept"
        return answer

    app.add_exception_handler(HTTPStatus.NOT_FOUND, nowhere)


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("Accept", "")


@cache
def digest() -> str:
    """Of all files: another version of the service has other addresses for them."""
    found = hashlib.sha256()
    for name in sorted(_names()):
        found.update(name.encode() + b"\0" + (STATIC / name).read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _page(request: Request, name: str) -> Response:
    root = escape(request.scope.get("root_path", ""), quote=True)
    template = _file(name, _changed_ns(name)).content.decode()
    content = template.replace("{{root}}", root).replace("{{static}}", f"{root}/static/{digest()}")
    return Response(content, media_type=KINDS[".html"], headers={"Content-Security-Policy": POLICY})


def _send(request: Request, path: str, kept: str) -> Response:
    if path not in _names():
        raise NotFound(f"there is no file {path!r}; reload the page")
    file = _file(path, _changed_ns(path))
    headers = {"Cache-Control": kept, "ETag": file.tag, "Vary": "Accept-Encoding"}
    if request.headers.get("If-None-Match") == file.tag:
        return Response(status_code=304, headers=headers)
    if not _takes_gzip(request.headers.get("Accept-Encoding", "")):
        return Response(file.content, media_type=file.kind, headers=headers)
    return Response(file.packed, media_type=file.kind, headers=headers | {"Content-Encoding": "gzip"})


@dataclass(frozen=True, slots=True)
class _File:
    kind: str
    content: bytes
    packed: bytes
    tag: str


@lru_cache(maxsize=256)
def _file(path: str, changed_ns: int) -> _File:
    """A file, read and packed once for as long as it stays as it is."""
    content = (STATIC / path).read_bytes()
    tag = f'W/"{hashlib.sha256(content).hexdigest()[:16]}"'  # weak: packed or not, it is the same
    return _File(KINDS[Path(path).suffix], content, gzip.compress(content, mtime=0), tag)


def _changed_ns(path: str) -> int:
    return (STATIC / path).stat().st_mtime_ns


def _takes_gzip(accepted: str) -> bool:
    for part in accepted.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return weight.strip().replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


@cache
def _names() -> frozenset[str]:
    return frozenset(_walk())


def _walk() -> Iterator[str]:
    for path in STATIC.rglob("*"):
        if path.is_file() and path.suffix in KINDS:
            yield path.relative_to(STATIC).as_posix()
