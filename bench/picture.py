"""Makes the README's pictures from a finished job: what `nas search` printed, and the cells.

python bench/picture.py --url http://127.0.0.1:8000 --job ID --out docs
"""

import argparse
import re
import tempfile
from pathlib import Path

from rich.console import Console

from cli.watch import summarise, take_home
from nas.client import Client

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--url", required=True)
parser.add_argument("--job", required=True)
parser.add_argument("--out", type=Path, required=True)
options = parser.parse_args()

with Client(options.url) as client, tempfile.TemporaryDirectory() as folder:
    job = client.job(options.job)
    package = take_home(job, Path(folder))
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=110, file=nowhere)
        summarise(job.dashboard(), package, console, shown_as=Path("nas-model/model.zip"))
    picture = console.export_svg(title="nas search digits")
    # The picture is to show without asking another host for a font.
    (options.out / "demo.svg").write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL))
    (options.out / "cells.svg").write_bytes((Path(folder) / "cells.svg").read_bytes())
print(f"wrote {options.out}/demo.svg and {options.out}/cells.svg")
