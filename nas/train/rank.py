"""One of the processes that train a network together: python -m nas.train.rank FOLDER RANK (see nas.train.parallel).

It ends when its standard input closes: then the process that it works for is no more.
"""

import json
import os
import queue
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from nas import plugins
from nas.data.images import ImageSet
from nas.data.tensors import Batchable
from nas.model import build_network
from nas.space import Candidate
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult
from nas.train.loop import fit
from nas.train.parallel import DATA, ORDER, RESUME, START
from nas.train.ranks import Ranks
from nas.train.recipe import Recipe
from nas.train.rendezvous import connect


class Line:
    """The line to the process that this one works for.

    Args:
        folder: is removed if that process dies, as it can no longer do it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._heard: queue.Queue[dict[str, Any]] = queue.Queue()
        # Whatever prints from now on prints to standard error.
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, kind: str, told: Mapping[str, Any], content: bytes = b"") -> None:
        """Says something; see nas.train.crew.Message."""
        line = json.dumps({"kind": kind, "bytes": len(content), **told}, default=repr)
        self._out.write(line.encode() + b"\n" + content)
        self._out.flush()

    def hear(self) -> dict[str, Any]:
        """The next answer, however long it takes."""
        return self._heard.get()

    def _listen(self) -> None:
        with open(0, "rb", buffering=0, closefd=False) as lines:  # no buffer, no lock
            for line in lines:
                self._heard.put(json.loads(line))
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(1)  # whatever the other threads do or wait for


def work(folder: Path, rank: int, line: Line) -> None:
    """Trains; the process with the number 0 says how every epoch went, and what the network is in the end."""
    order = json.loads((folder / ORDER).read_text(encoding="utf-8"))
    device = torch.device(order["devices"][rank])
    torch.set_num_threads(order["threads"])
    plugins.use(*order["plugins"])
    data = ImageSet.load(folder / DATA)
    resume = folder / RESUME
    checkpoint = Checkpoint.from_bytes(resume.read_bytes()) if resume.exists() else None
    candidate = Candidate.from_json(order["candidate"])
    network = build_network(candidate, in_channels=data.shape[0], outputs=data.outputs)
    network.load_state_dict(load_file(folder / START))
    line.say("ready", {})
    world = len(order["devices"])

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        if rank == 0:
            line.say("epoch", asdict(result), take().to_bytes())
        return bool(line.hear()["goes_on"])

    fit(
        network,
        Batchable.of(data, "train", device),
        Batchable.of(data, "validation", device),
        Recipe.from_json(order["recipe"]),
        seed=order["seed"],
        on_epoch=on_epoch,
        should_stop=lambda: False,  # who stops it kills it
        resume=checkpoint,
        task=data.task,
        kept=frozenset(order["kept"]),
        frozen=frozenset(order["frozen"]),
        ranks=Ranks(rank, world, connect(folder, rank, world, device)),
    )
    state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    line.say("done", {}, save(state) if rank == 0 else b"")


def main() -> None:
    """See the module."""
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    line = Line(folder)
    try:
        work(folder, rank, line)
    except Exception as error:
        facts = {
            name: getattr(error, name) for name in ("epoch", "loss", "field", "value", "mend") if hasattr(error, name)
        }
        text = f"failed: {error}\n{traceback.format_exc()}"
        line.say("error", {"error": type(error).__name__, "text": text, **facts})
    line.hear()  # the one that it works for ends it


if __name__ == "__main__":
    main()
