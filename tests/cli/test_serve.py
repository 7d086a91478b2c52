"""`nas serve` tells where the dashboard is, to people and to programs, and stops with status 0."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_service_says_where_its_dashboard_is(tmp_path: Path, arguments: list[str]) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("NAS_")}
    command = [sys.executable, "-m", "cli", "serve", "--port", "0", "--workers", "0", *arguments]
    with subprocess.Popen(
        command, env=environ | {"NAS_HOME": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as serving:
        assert serving.stdout is not None
        first = serving.stdout.readline()
        if arguments:
            url = json.loads(first)["url"]
        else:
            assert first.startswith("NAS service on http://127.0.0.1:")
            while not (line := serving.stdout.readline()).startswith("dashboard: "):
                assert line
            url = line.split()[1].rstrip("/")
        with httpx.Client(transport=httpx.HTTPTransport(retries=5)) as http:
            assert "text/html" in http.get(f"{url}/").headers["content-type"]
        serving.send_signal(signal.SIGINT)
        rest, _ = serving.communicate(timeout=60)
    assert serving.returncode == 0
    assert ("queued again" in rest) == (not arguments)
