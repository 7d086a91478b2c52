"""Options and arguments that several commands have, so that they are called the same everywhere."""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.completion import complete_datasets, complete_jobs

DEFAULT_URL: Final = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(envvar="NAS_URL", help="the running service", show_envvar=True)]
OwnUrl = Annotated[
    str | None, typer.Option(envvar="NAS_URL", help="a running service; default: this machine's own database and files")
]
Json = Annotated[bool, typer.Option("--json", help="for a program to read: JSON and nothing else on stdout")]
JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="id of a job; `nas jobs` lists them", autocompletion=complete_jobs)
]
DatasetName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="of a data set; `nas datasets` lists them", autocompletion=complete_datasets),
]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="image files, such as PNG or JPEG")]
Number = Annotated[int, typer.Argument(metavar="TRIAL", min=0, help="number of a trial")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="folder; default: named after the job")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="any field of a job; repeat it. A value, or what to search over: `recipe.lr=0.05`, "
        "`recipe.optimizer=adamw,nesterov`, `space.channels=8..32`, `limits.max_params=100000`, "
        "`options.population=50`, `pruning.eta=4`; `nas search --example` lists the fields",
        rich_help_panel="Any field of a job",
    ),
]
