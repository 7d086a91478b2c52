"""What routes need: the parts that create_app made, and one answer to If-None-Match."""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from nas.settings import Settings
from nas.store.artifacts import ArtifactStore
from nas.store.session import Store


@dataclass(frozen=True, eq=False, slots=True)
class Parts:
    """The app's database, files and settings."""

    settings: Settings
    store: Store
    artifacts: ArtifactStore


async def _parts(request: Request) -> Parts:  # async: FastAPI would take a thread for it
    parts = request.app.state.parts
    if not isinstance(parts, Parts):
        raise TypeError(parts)
    return parts


Service = Annotated[Parts, Depends(_parts)]
IfNoneMatch = Annotated[str | None, Header(description="the ETag of the answer you have")]


def tagged(content: bytes, media_type: str, known: str | None, *, of: bytes | None = None) -> Response:
    """The content with its ETag, or 304 without it if the client has it.

    Args:
        content: the body.
        media_type: of the body.
        known: the request's If-None-Match.
        of: what the tag is made of, where that is less than the content.
    """
    tag = f'"{hashlib.sha256(content if of is None else of).hexdigest()[:32]}"'
    tag = tag if of is None else f"W/{tag}"
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if known is not None and (known.strip() == "*" or tag in [entry.strip() for entry in known.split(",")]):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
