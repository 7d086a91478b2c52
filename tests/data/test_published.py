"""Published data sets, in small: the same formats, from a server on this machine."""

import gzip
import hashlib
import io
import socket
import struct
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import numpy.typing as npt
import pytest

from nas.data.builtin import BUILTIN, CIFAR10, CIFAR100, FASHION_MNIST, MNIST
from nas.data.fetch import Published, fetch
from nas.data.images import ImageSet
from nas.data.published import CifarSet, IdxSet
from nas.errors import NotReady

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (30, 5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)
LABELS = (np.arange(30) % 2).astype(np.uint8)


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """http://yann.lecun.com/exdb/mnist, "The IDX file format"."""
    sides = b"".join(struct.pack(">i", side) for side in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sides + array.tobytes(), mtime=0)


def records(images: npt.NDArray[np.uint8], *labels: npt.NDArray[np.uint8]) -> bytes:
    """https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version"."""
    rows = zip(images, *labels, strict=True)
    return b"".join(bytes(int(label) for label in row[1:]) + row[0].tobytes() for row in rows)


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


FILES = {
    "train-images-idx3-ubyte.gz": idx(GREY[:20]),
    "train-labels-idx1-ubyte.gz": idx(LABELS[:20]),
    "t10k-images-idx3-ubyte.gz": idx(GREY[20:]),
    "t10k-labels-idx1-ubyte.gz": idx(LABELS[20:]),
    "cifar-10-binary.tar.gz": tarred(
        {
            f"cifar-10-batches-bin/data_batch_{n + 1}.bin": records(COLOUR[4 * n :][:4], LABELS[4 * n :][:4])
            for n in range(5)
        }
        | {
            "cifar-10-batches-bin/test_batch.bin": records(COLOUR[20:], LABELS[20:]),
            "cifar-10-batches-bin/batches.meta.txt": b"airplane\nautomobile\n\n",
        }
    ),
    "cifar-100-binary.tar.gz": tarred(
        {
            "cifar-100-binary/train.bin": records(COLOUR[:20], 9 - LABELS[:20], LABELS[:20]),
            "cifar-100-binary/test.bin": records(COLOUR[20:], 9 - LABELS[20:], LABELS[20:]),
            "cifar-100-binary/fine_label_names.txt": b"apple\naquarium_fish\n",
            "cifar-100-binary/coarse_label_names.txt": b"fruit\n",
        }
    ),
}
NAME = "train-images-idx3-ubyte.gz"


class Mirror(ThreadingHTTPServer):
    """Serves FILES in folders that behave in different ways, and counts what is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    def url(self, folder: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{folder}/"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        _, folder, name = self.path.split("/")
        self.server.asked.append(f"{folder}/{name}")
        if folder == "moved":
            self.send_response(302)
            self.send_header("Location", f"/good/{name}")
            self.end_headers()
            return
        content = FILES[name]
        sent = {"good": content, "other": content[:-1] + b"?", "short": content[:50], "cut": content[:50]}.get(folder)
        self.send_response(404 if sent is None else 200)
        self.send_header("Content-Length", str(len(content if folder == "short" else sent or b"")))
        self.end_headers()
        self.wfile.write(sent or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def dead() -> str:
    """The URL of a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/"


def small(file: Published, *mirrors: str) -> Published:
    """The small file of that name."""
    return Published(file.name, hashlib.md5(FILES[file.name], usedforsecurity=False).hexdigest(), mirrors)


def small_idx(data: IdxSet, *mirrors: str) -> IdxSet:
    one, two, three, four = (small(file, *mirrors) for file in data.files)
    return replace(data, files=(one, two, three, four), classes=("0", "1"))


def small_cifar(data: CifarSet, *mirrors: str) -> CifarSet:
    return replace(data, file=small(data.file, *mirrors))


def check(data: ImageSet, images: npt.NDArray[np.uint8], classes: tuple[str, ...]) -> None:
    np.testing.assert_array_equal(data.images, images, strict=True)
    assert data.labels.tolist() == LABELS.tolist()
    assert data.classes == classes
    assert data.test.tolist() == list(range(20, 30))
    assert sorted([*data.train, *data.validation]) == list(range(20))
    assert len(data.validation) == 4


@pytest.mark.parametrize("data", [MNIST, FASHION_MNIST])
def test_idx_files_become_a_data_set_whose_test_images_are_the_published_ones(
    data: IdxSet, mirror: Mirror, tmp_path: Path
) -> None:
    read = small_idx(data, mirror.url("good")).read(tmp_path)
    check(read, GREY[:, np.newaxis], ("0", "1"))
    assert read.digest == small_idx(data, mirror.url("good")).read(tmp_path).digest
    assert sorted(path.name for path in (tmp_path / data.name).iterdir()) == sorted(file.name for file in data.files)


@pytest.mark.parametrize(
    ("data", "classes"), [(CIFAR10, ("airplane", "automobile")), (CIFAR100, ("apple", "aquarium_fish"))]
)
def test_binary_records_become_a_data_set_whose_test_images_are_the_published_ones(
    data: CifarSet, classes: tuple[str, ...], mirror: Mirror, tmp_path: Path
) -> None:
    check(small_cifar(data, mirror.url("good")).read(tmp_path), COLOUR, classes)


def test_without_a_folder_nothing_is_kept(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    check(small_idx(MNIST, mirror.url("good")).read(None), GREY[:, np.newaxis], ("0", "1"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_folder_is_not_fetched(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / CIFAR10.file.name).write_bytes(FILES[CIFAR10.file.name])
    check(small_cifar(CIFAR10, mirror.url("good")).read(tmp_path), COLOUR, ("airplane", "automobile"))
    assert mirror.asked == []


@pytest.mark.parametrize("bad", ["other", "short", "cut", "missing", "dead", "no url"])
def test_the_next_mirror_is_asked_where_one_fails(bad: str, mirror: Mirror, tmp_path: Path) -> None:
    first = {"dead": dead(), "no url": "nonsense://x/"}.get(bad) or mirror.url(bad)
    file = small(MNIST.files[0], first, mirror.url("moved"), mirror.url("unasked"))
    assert fetch(file, tmp_path).read_bytes() == FILES[NAME]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert mirror.asked[-2:] == [f"moved/{NAME}", f"good/{NAME}"]


def test_a_damaged_file_in_the_folder_is_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(FILES[NAME][:-1])
    assert fetch(small(MNIST.files[0], mirror.url("good")), tmp_path).read_bytes() == FILES[NAME]


def test_where_no_mirror_has_the_file_it_is_said_how_to_help_and_nothing_is_left(
    mirror: Mirror, tmp_path: Path
) -> None:
    damaged = tmp_path / NAME
    damaged.write_bytes(b"?")
    file = small(MNIST.files[0], dead(), mirror.url("other"), mirror.url("short"), mirror.url("missing"))
    with pytest.raises(NotReady) as caught:
        fetch(file, tmp_path)
    for told in (NAME, file.checksum, tmp_path.name, "404", "checksum is", *file.mirrors):
        assert told in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {NAME: b"?"}


def test_a_checksum_may_be_a_sha256(mirror: Mirror, tmp_path: Path) -> None:
    right = Published(NAME, hashlib.sha256(FILES[NAME]).hexdigest(), (mirror.url("good"),))
    assert fetch(right, tmp_path).read_bytes() == FILES[NAME]
    with pytest.raises(NotReady):
        fetch(replace(right, checksum=hashlib.sha256(b"?").hexdigest()), tmp_path)


def test_an_endless_file_is_given_up(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.data.fetch.MOST_BYTES", 40)
    with pytest.raises(NotReady, match="more than 40 bytes"):
        fetch(small(MNIST.files[0], mirror.url("good")), tmp_path)


def test_every_published_file_has_a_checksum_and_several_mirrors() -> None:
    files = [*MNIST.files, *FASHION_MNIST.files, CIFAR10.file, CIFAR100.file]
    assert len({file.checksum for file in files}) == len(files)
    for file in files:
        assert len(bytes.fromhex(file.checksum)) == 16
        assert len(file.mirrors) >= 2
        assert all(url.startswith("http") and url.endswith("/") for url in file.mirrors)


def test_the_catalogue_says_what_there_is_and_digits_need_no_folder() -> None:
    assert list(BUILTIN) == ["digits", "mnist", "fashion_mnist", "cifar10", "cifar100"]
    assert len(BUILTIN["digits"].load().images) == 1797
    assert all(entry.summary for entry in BUILTIN.values())
