"""Uploads through the API, and what they leave."""

from pathlib import Path
from typing import Any

import httpx

from tests.api.client import ApiClient
from tests.uploads import folders, zipped

ENOUGH = zipped(folders())


def upload(api: ApiClient, content: bytes = ENOUGH, name: str = "photos", **texts: Any) -> httpx.Response:
    """As `curl -F name=photos -F file=@photos.zip` sends it."""
    file = (f"{name[:20]}.zip", content, "application/zip")
    return api.post("/v1/datasets", data={"name": name} | texts, files={"file": file})


def names(api: ApiClient) -> list[str]:
    return [item["name"] for item in api.get("/v1/datasets").json()["items"] if item["images"] is not None]


def left(api: ApiClient) -> list[str]:
    """What lies where uploads pass through."""
    return [path.name for path in (api.parts.settings.home / "uploads").glob("**/*")]


def kept(api: ApiClient) -> set[str]:
    """The files of the artifact store."""
    return {path.name for path in Path(api.parts.settings.artifacts_url).rglob("*") if path.is_file()}
