"""`nas datasets`, as users type it, and the client beneath it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.main import run
from cli.service import local_service
from nas.client import Client, NoService, ServiceError
from nas.settings import Settings
from nas.store import datasets
from nas.store.session import Store
from tests.processes import environment, settings_in, until
from tests.uploads import COUNTS, folders, npz, zipped


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    path = tmp_path / "photos.zip"
    path.write_bytes(zipped(folders()))
    return path


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`nas datasets ARGUMENTS` with its data in tmp_path/home, in this process: another one takes seconds to import."""

    def run_it(*arguments: str, **environ: str) -> Done:
        status = 0
        with monkeypatch.context() as patched:
            for name, value in (settings_in(tmp_path / "home").to_environ() | environ).items():
                patched.setenv(name, value)
            patched.setattr(sys, "argv", ["nas", "datasets", *arguments])
            try:
                run()
            except SystemExit as ended:
                status = int(ended.code or 0)
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run_it


def stored(home: Path) -> list[str]:
    store = Store(settings_in(home).database_url)
    with store.read() as session:
        found = [row.name for row in datasets.listed(session)]
    store.close()
    return found


def test_a_data_set_is_added_where_a_search_of_this_machine_looks(tmp_path: Path, photos: Path) -> None:
    """As a process of its own."""
    command = [sys.executable, "-m", "cli", "datasets", "add", str(photos)]
    settings = settings_in(tmp_path / "home")
    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "photos: 44 colour images of 8×8 pixels in 2 classes (28 train, 7 validation, 9 test)" in done.stdout
    assert "nas search photos" in done.stdout
    assert stored(tmp_path / "home") == ["photos"]
    assert list((tmp_path / "home" / "uploads").iterdir()) == []


def test_data_sets_are_listed_shown_and_deleted(tmp_path: Path, photos: Path, nas: Callable[..., Done]) -> None:
    assert nas("add", str(photos)).status == 0
    listed = nas().out.splitlines()
    [line] = [line for line in listed if "photos" in line]
    assert "44" in line
    assert "3×8×8" in line
    assert any("digits" in line for line in listed)
    assert '"cat": 24' in nas("show", "photos").out
    assert nas("delete", "photos") == Done(0, "photos is deleted\n", "")
    assert stored(tmp_path / "home") == []
    assert list((tmp_path / "home" / "artifacts").rglob("*/*")) == []


def test_a_folder_is_added_with_all_that_is_said_of_it(tmp_path: Path, nas: Callable[..., Done]) -> None:
    for name, content in folders(COUNTS | {"owl": 7}).items():
        (tmp_path / "birds" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "birds" / name).write_bytes(content)
    done = nas("add", str(tmp_path / "birds"), "--name", "my birds", "--size", "16", "--seed", "3")
    assert done.status == 0, done.err
    assert "51 colour images of 16×16 pixels in 3 classes" in done.out
    assert "owl (7)" in done.out  # a warning
    assert "nas search 'my birds'" in done.out


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (["add", "nothing.zip"], {}, "source: 'nothing.zip' is not possible: there is no such file or folder"),
        (["add", "PHOTOS", "--name", "digits"], {}, "a built-in data set has that name"),
        (["add", "PHOTOS", "--size", "4"], {}, "size: '4' is not possible"),
        (["add", "PHOTOS"], {"NAS_MAX_UPLOAD_BYTES": "1000"}, "at most 1,000 bytes"),
        (["add", "PHOTOS"], {"NAS_MAX_UPLOAD_BYTES": "much"}, "NAS_MAX_UPLOAD_BYTES is 'much'"),
        (["show", "nothing"], {}, "there is no data set 'nothing'"),
        (["delete", "nothing"], {}, "no data set 'nothing' is stored"),
    ],
)
def test_an_error_is_one_line_that_names_the_mend(
    photos: Path, nas: Callable[..., Done], arguments: list[str], environ: dict[str, str], says: str
) -> None:
    done = nas(*[str(photos) if argument == "PHOTOS" else argument for argument in arguments], **environ)
    last = done.err.strip().splitlines()[-1]
    assert done.status == (4 if "no data set" in says else 2), done.err
    assert last.startswith("nas: ")
    assert says in last


def test_a_service_that_does_not_answer_has_a_status_of_its_own(photos: Path, nas: Callable[..., Done]) -> None:
    for arguments in (["add", str(photos)], ["show", "x"], ["delete", "x"], []):
        done = nas(*arguments, "--url", "http://127.0.0.1:9")
        assert done.status == 3
        assert "no service answers at http://127.0.0.1:9" in done.err


def test_a_running_service_is_used_where_one_is_named(
    service: tuple[Client, Settings], tmp_path: Path, photos: Path, nas: Callable[..., Done]
) -> None:
    client, _ = service
    assert nas("add", str(photos), "--url", client.url).status == 0
    assert client.dataset("photos")["images"] == 44
    assert not (tmp_path / "home").exists()
    assert nas("delete", "photos", NAS_URL=client.url).status == 0
    assert "photos" not in [item["name"] for item in client.datasets()]


# --- the client


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Settings]]:
    """A real service on the loopback that takes 4 MiB, and a client of it."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings.read({"NAS_HOME": str(home), "NAS_MAX_UPLOAD_BYTES": str(4 << 20), "NAS_LOG": "ERROR"})
    with local_service(settings, 0, [], os.environ) as url, Client(url) as client:
        yield client, settings


def test_a_client_adds_shows_lists_and_deletes(service: tuple[Client, Settings], photos: Path) -> None:
    client, _ = service
    seen: list[int] = []
    added = client.add_dataset(photos, "mine", sent=seen.append)
    assert sum(seen) == photos.stat().st_size
    assert added["counts"] == COUNTS
    assert client.add_dataset(photos, "mine") == added
    assert client.dataset("mine") == added
    assert added in client.datasets()
    client.delete_dataset("mine")
    with pytest.raises(ServiceError, match="there is no data set 'mine'") as caught:
        client.dataset("mine")
    assert caught.value.status == 404


def test_a_name_goes_through_a_url_as_it_is(service: tuple[Client, Settings], photos: Path) -> None:
    client, _ = service
    for name in ("a%2Fb?c#d", "ünï çödé", "..."):
        assert client.add_dataset(photos, name)["name"] == name
        assert client.dataset(name)["name"] == name
        client.delete_dataset(name)


def test_size_and_seed_are_passed_on(service: tuple[Client, Settings], photos: Path) -> None:
    client, _ = service
    plain = client.add_dataset(photos, "plain")
    sized = client.add_dataset(photos, "sized", size=16, seed=1)
    assert (plain["image"], sized["image"]) == ([3, 8, 8], [3, 16, 16])
    with pytest.raises(ServiceError, match="delete that one first") as caught:
        client.add_dataset(photos, "plain", seed=1)
    assert caught.value.status == 409


def test_the_services_words_on_a_file_are_the_clients(service: tuple[Client, Settings], tmp_path: Path) -> None:
    client, settings = service
    (tmp_path / "broken.zip").write_bytes(b"no zip")
    with pytest.raises(ServiceError, match=r"file: 'broken\.zip' is not possible"):
        client.add_dataset(tmp_path / "broken.zip", "broken")
    with pytest.raises(FileNotFoundError):
        client.add_dataset(tmp_path / "nothing.zip", "nothing")
    assert list((settings.home / "uploads").iterdir()) == []


def test_a_file_over_the_limit_is_refused_over_a_real_connection(
    service: tuple[Client, Settings], tmp_path: Path
) -> None:
    client, settings = service
    with (tmp_path / "large.zip").open("wb") as file:
        file.truncate(64 << 20)
    with pytest.raises(ServiceError, match="at most 4,194,304 bytes") as caught:
        client.add_dataset(tmp_path / "large.zip", "large")
    assert caught.value.status == 413
    assert list((settings.home / "uploads").iterdir()) == []


def test_nothing_is_left_when_a_client_hangs_up(service: tuple[Client, Settings], tmp_path: Path) -> None:
    client, settings = service
    (tmp_path / "large.npz").write_bytes(npz() + bytes(3 << 20))
    uploads = settings.home / "uploads"
    seen = threading.Event()

    def hang_up(_: int) -> None:
        for _ in range(100):  # else all of it may be on its way before the server has begun to write
            if any(uploads.glob("*")):
                break
            time.sleep(0.01)
        if any(uploads.glob("*")):
            seen.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.add_dataset(tmp_path / "large.npz", "large", sent=hang_up)
    assert seen.is_set()
    until(lambda: not list(uploads.iterdir()), "the removal of what was uploaded", seconds=10)
    with Client(client.url) as another:
        assert "large" not in [item["name"] for item in another.datasets()]


def test_a_service_that_is_not_there_is_named(photos: Path) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(NoService, match="no service answers"):
        client.add_dataset(photos, "photos")
