"""The service's words as a command line says them: where it names a route, the command for that."""

import re
from typing import Final

ROUTES: Final = (
    (r"`nas jobs resume (\w+)` or POST /v1/jobs/\w+/resume", r"`nas jobs resume \1`"),
    (r"POST /v1/jobs/(\w+)/trials/(\d+)/retrain", r"`nas jobs retrain \1 \2`"),
    (r"POST /v1/jobs/(\w+)/cancel, or DELETE it with \?force=true", r"`nas jobs cancel \1`, or delete it with --force"),
    (r"DELETE /v1/(jobs|datasets)/(ID|NAME)", r"`nas \1 delete \2`"),
    (r"GET /v1/(jobs|datasets|strategies|operations|genotypes) (lists|has)", r"`nas \1` \2"),
    (r"GET …/tensorboard has", "`nas jobs logs` has"),
    (r"--url or Client\(url\)", "--url or NAS_URL"),
    (
        r"^study_name: (.*)name another study_name, or pass replace=True",
        r"--study: \1name another one, or add --replace",
    ),
    (r"^optuna_url: ", "--optuna: "),
)
"""What the service says → what a command line says instead."""


def as_commands(text: str) -> str:
    """The same words, with commands for routes."""
    for route, command in ROUTES:
        text = re.sub(route, command, text)
    return text
