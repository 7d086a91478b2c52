"""An S3 server of one's own, spoken to over HTTP, and buckets in it."""

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from unittest.mock import patch

import fsspec
import httpx
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def bucket(*, there: bool = True) -> Iterator[str]:
    """The `s3://` URL of a new, empty bucket, which the environment leads to; or of one that is not there."""
    name = f"nas-{uuid.uuid4().hex}"
    with patch.dict(os.environ, KEYS | {"AWS_ENDPOINT_URL": endpoint()}):
        if there:
            httpx.put(f"{endpoint()}/{name}").raise_for_status()
        yield f"s3://{name}/artifacts"


@cache
def endpoint() -> str:
    """The URL of a server that lasts as long as the tests."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request otherwise
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


@contextmanager
def led_to(url: str) -> Iterator[None]:
    """S3 is at another URL, where none may be."""
    with patch.dict(fsspec.config.conf, {"s3": {"endpoint_url": url}}):
        yield
