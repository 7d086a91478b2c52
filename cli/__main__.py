"""`python -m cli` is `nas`."""

from cli.main import run

run()
