"""`nas serve` and `nas worker`: the processes that stay."""

import signal
import threading
from collections.abc import Mapping
from typing import Annotated

import typer

from cli.options import Json
from cli.output import note, say, say_line

PACK_HELP = "trials at once in a worker process; auto: on a GPU as many as its memory has room for, on a CPU one"
PIN_HELP = "keep each CPU worker to a core of its own, where there is one for each core"


def serve(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    host: Annotated[str, typer.Option(help="address to listen on; anything but loopback lets others in")] = "127.0.0.1",
    workers: Annotated[
        int | None, typer.Option(min=0, max=1024, help="local workers; default: one a GPU, or one a core; 0 for none")
    ] = None,
    pack: Annotated[str, typer.Option(help=PACK_HELP)] = "auto",
    pin: Annotated[bool, typer.Option(help=PIN_HELP)] = True,
    as_json: Json = False,
) -> None:
    """Run the dashboard, the API and local workers, until Ctrl-C.

    Trials are then given back, and go on at the next start. With --json, one line says where it listens.

    Example: `nas serve`, and open the address that it prints

    Example: `nas serve --port 9000 --workers 2`
    """
    # FastAPI and SQLAlchemy: a second of imports
    from api.browsers import is_loopback
    from cli.keys import states
    from cli.places import Cores, find_gpus, places
    from cli.service import listen, server
    from cli.workers import Workers
    from nas.errors import SettingsError
    from nas.settings import Settings

    environ: Mapping[str, str] = context.obj
    settings = Settings.read(environ)
    settings.log_to_stderr()
    required, active = states(settings)
    if not is_loopback(host) and not active:
        mend = "make one with `nas keys create --owner NAME --scope write`, or listen on 127.0.0.1"
        raise SettingsError(f"others can reach {host}, and there is no key that can be used: {mend}")
    sock = listen(host, port)
    where = places(workers, find_gpus(environ), Cores.here(), pin=pin)
    options = ["--pack", _packed(pack)]
    # uvicorn stops at a signal and then raises it again, for whoever was there before: that is us, and we go on to
    # stop the workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    url = f"http://{_shown(host)}:{sock.getsockname()[1]}"
    if as_json:
        say_line({"url": url, "workers": len(where), "home": str(settings.home), "keys": required})
    else:
        _greet(url, len(where), str(settings.home), required=required)
    with Workers(settings, where, environ, options):
        server(settings).run(sockets=[sock])
    (note if as_json else say)("stopped; trials that were running are queued again")


def worker(
    context: typer.Context,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="worker processes; default: one a GPU, or one a core")
    ] = None,
    pack: Annotated[str, typer.Option(help=PACK_HELP)] = "auto",
    pin: Annotated[bool, typer.Option(help=PIN_HELP)] = True,
    as_json: Json = False,
) -> None:
    """Run workers against NAS_DATABASE_URL and NAS_ARTIFACTS_URL, until Ctrl-C. Start them on as many machines as you
    like. With --json, one line says how many workers there are.

    Example: `NAS_DATABASE_URL=postgresql://nas@db/nas NAS_ARTIFACTS_URL=s3://nas nas worker`
    """
    from cli.places import Cores, find_gpus, places
    from cli.workers import MISTAKE, Workers
    from nas.settings import Settings

    environ: Mapping[str, str] = context.obj
    options = ["--device", device, "--pack", _packed(pack)]
    where = places(workers, find_gpus(environ) if device != "cpu" else [], Cores.here(), pin=pin)
    if as_json:
        say_line({"workers": len(where), "device": device})
    if len(where) == 1:
        from worker.main import main  # torch: seconds of imports

        raise typer.Exit(main(options))
    settings = Settings.read(environ)
    settings.log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Workers(settings, where, environ, options) as running:
        while not stop.is_set():
            if running.refused(0.2):
                raise typer.Exit(MISTAKE)


def _greet(url: str, workers: int, home: str, *, required: bool) -> None:
    local = "1 local worker" if workers == 1 else f"{workers} local workers"
    say(f"NAS service on {url} (docs: {url}/docs), {local}, data in {home}")
    say(f"dashboard: {url}/")
    say(
        "API keys are required; `nas keys create` makes one"
        if required
        else "no API keys: everyone on this machine can use it; `nas keys create` makes the first one"
    )


def _shown(host: str) -> str:
    """A host as a browser on this machine opens it."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _packed(pack: str) -> str:
    """What `--pack` says, once it is known to say something."""
    from nas.errors import SettingsError
    from worker.pack import packed

    try:
        packed(pack)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    return pack
