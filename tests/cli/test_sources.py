"""What `nas datasets add` can be given becomes one file that the service reads."""

import io
import json
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from rich.progress import Progress

from cli.sources import default_name, prepare
from nas.data.upload import read_upload
from nas.errors import InvalidInput
from tests.uploads import COUNTS, folders, parquet, png, zipped

FILES = folders()
MAX_BYTES = 10 << 20


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """`prepare` without bars."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def prepared(source: object, max_bytes: int = MAX_BYTES, **more: Any) -> Path:
        with Progress(console=Console(file=io.StringIO())) as bars:
            return prepare(str(source), scratch, max_bytes, bars, **more)

    return prepared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "photos"
    for name, content in FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    return home


def content_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def tar_of(path: Path, files: dict[str, bytes], mode: str = "w", **members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in members.values():
            archive.addfile(info)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


# --- names


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("photos.zip", "photos"),
        ("/data/My Photos.ZIP", "My-Photos"),
        ("a/flowers.tar.gz", "flowers"),
        ("flowers.tgz", "flowers"),
        ("v1.2.npz", "v1.2"),
        ("photos", "photos"),
        ("photos/", "photos"),
        ("Grüße.parquet", "Grüße"),
        ("???.zip", "images"),
        ("https://host/a/b/flowers.tar.xz?download=1#x", "flowers"),
        ("https://host/my%20photos.zip", "my-photos"),
        ("https://host/", "images"),
        ("hf:mnist", "mnist"),
        ("hf:ylecun/mnist", "mnist"),
        ("hf:ylecun/mnist:train", "mnist"),
    ],
)
def test_a_name_is_made_of_the_source(source: str, name: str) -> None:
    assert default_name(source) == name


def test_a_folder_is_named_by_its_own_name_also_from_within(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert default_name(".") == "photos"


# --- files and folders


@pytest.mark.parametrize("content", [zipped(FILES), b"PAR1", b"anything else"])
def test_a_file_is_taken_as_it_is(make: Callable[..., Path], tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert make(path) == path


def test_a_folder_becomes_a_zip_of_its_files(make: Callable[..., Path], folder: Path) -> None:
    found = make(folder)
    assert found.name == "photos.zip"
    assert content_of(found) == FILES
    with zipfile.ZipFile(found) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert read_upload(found).counts == COUNTS


def test_a_folder_is_the_same_zip_every_time(make: Callable[..., Path], folder: Path) -> None:
    first = make(folder).read_bytes()
    os.utime(folder / "cat" / "000.png", (0, 0))  # before 1980, which a zip cannot say
    assert make(folder).read_bytes() == first


def test_hidden_files_stay_behind(make: Callable[..., Path], folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "x.png").write_bytes(b"x")
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    assert content_of(make(folder)) == FILES


def test_a_link_within_the_folder_is_what_it_links_to(make: Callable[..., Path], folder: Path) -> None:
    (folder / "cat" / "link.png").symlink_to(folder / "dog" / "000.png")
    assert content_of(make(folder))["cat/link.png"] == FILES["dog/000.png"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "../dog", "."])
def test_a_link_out_of_the_folder_or_to_a_folder_is_refused(
    make: Callable[..., Path], folder: Path, target: str
) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    (folder / "cat" / "link").symlink_to(target)
    with pytest.raises(InvalidInput, match=r"cat/link is a link to a folder or out of this one"):
        make(folder)


def test_a_folder_without_files_is_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(InvalidInput, match="there are no files in it"):
        make(tmp_path / "empty")


def test_a_folder_over_the_limit_is_refused_before_it_is_packed(make: Callable[..., Path], folder: Path) -> None:
    with pytest.raises(InvalidInput, match="more than 1,000 bytes"):
        make(folder, max_bytes=1000)
    assert list((folder.parent / "scratch").iterdir()) == []


def test_names_that_are_no_text_are_refused(make: Callable[..., Path], folder: Path) -> None:
    (folder / "cat" / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    with pytest.raises(InvalidInput, match="the name cannot be printed; rename it"):
        make(folder)


def test_what_is_not_there_is_said_to_be_not_there(make: Callable[..., Path]) -> None:
    with pytest.raises(InvalidInput, match=r"there is no such file or folder; give a path, an http\(s\) URL, or hf:"):
        make("nothing.zip")


# --- tars


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_a_tar_becomes_a_zip_of_its_files(make: Callable[..., Path], tmp_path: Path, mode: str) -> None:
    path = tar_of(tmp_path / "photos.tar", FILES | {"cat/.hidden": b"x"}, mode, d=special("cat", tarfile.DIRTYPE))
    assert content_of(make(path)) == FILES


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("cat/link", tarfile.SYMTYPE, "/etc/passwd"),
        ("cat/link", tarfile.SYMTYPE, "000.png"),
        ("cat/link", tarfile.LNKTYPE, "cat/000.png"),
        ("cat/fifo", tarfile.FIFOTYPE, ""),
        ("cat/device", tarfile.CHRTYPE, ""),
        ("/etc/passwd", tarfile.REGTYPE, ""),
        ("../outside.png", tarfile.REGTYPE, ""),
        ("cat/../../outside.png", tarfile.REGTYPE, ""),
    ],
)
def test_a_tar_with_anything_but_plain_files_inside_is_refused(
    make: Callable[..., Path], tmp_path: Path, name: str, kind: bytes, target: str
) -> None:
    path = tar_of(tmp_path / "photos.tar", FILES, bad=special(name, kind, target))
    with pytest.raises(InvalidInput, match=f"'{name}' in it is a link, a device, or outside of it") as caught:
        make(path)
    assert caught.value.field == "source"
    assert not (tmp_path / "outside.png").exists()


def test_a_tar_that_unpacks_to_more_than_the_limit_is_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    path = tar_of(tmp_path / "photos.tar.xz", {"cat/bomb.png": bytes(64 << 20)}, "w:xz")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InvalidInput, match="more than 10,485,760 bytes"):
        make(path)
    assert sum(made.stat().st_size for made in (tmp_path / "scratch").iterdir()) < 1 << 20  # it was never unpacked


@pytest.mark.parametrize("cut", [600, 2000])
def test_a_tar_that_is_cut_off_is_refused(make: Callable[..., Path], tmp_path: Path, cut: int) -> None:
    path = tar_of(tmp_path / "photos.tar.gz", {f"cat/{index}.png": os.urandom(700) for index in range(20)}, "w:gz")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InvalidInput, match="it cannot be read"):
        make(path)


def test_a_file_that_is_in_a_tar_twice_is_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    path = tar_of(tmp_path / "photos.tar", FILES)
    with tarfile.open(path, "a") as archive:
        archive.addfile(special("cat/000.png", tarfile.REGTYPE))
    with pytest.raises(InvalidInput, match="a file of that name is there twice"):
        make(path)


def test_a_tar_without_files_is_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there are no files in it"):
        make(tar_of(tmp_path / "photos.tar", {}, d=special("cat", tarfile.DIRTYPE)))


# --- URLs


@contextmanager
def serving(answers: dict[str, bytes | int]) -> Iterator[str]:
    """A server on the loopback: path → body, or the status of an error with a body such as the hub's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.split("?", 1)[0] + self.headers.get("X", ""), 404)
            asked.append(self.path)
            body = found if isinstance(found, bytes) else json.dumps({"error": "it is gated"}).encode()
            self.send_response(200 if isinstance(found, bytes) else found)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_url_is_downloaded(make: Callable[..., Path], tmp_path: Path) -> None:
    packed = tar_of(tmp_path / "x", FILES, "w:gz").read_bytes()
    with serving({"/my%20photos.zip": zipped(FILES), "/photos.tar.gz": packed}) as url:
        plain = make(f"{url}/my%20photos.zip?token=1")
        assert plain.read_bytes() == zipped(FILES)
        assert plain.name == "my photos.zip"
        assert content_of(make(f"{url}/photos.tar.gz")) == FILES


def test_a_download_that_goes_wrong_names_what_the_server_says(make: Callable[..., Path]) -> None:
    with serving({"/large.zip": bytes(2 << 20), "/gone.zip": 410}) as url:
        with pytest.raises(InvalidInput, match="the server answers 410 Gone"):
            make(f"{url}/gone.zip")
        with pytest.raises(InvalidInput, match="more than 1,000 bytes"):
            make(f"{url}/large.zip", max_bytes=1000)
    with pytest.raises(InvalidInput, match="it cannot be downloaded"):
        make(f"{url}/large.zip")
    with pytest.raises(InvalidInput, match="it is no URL"):
        make("http://[::1")


# --- the hub


def hub(files: list[tuple[str, str, str]], url: str) -> bytes:
    """The hub's list of (split, path, config)."""
    listed = [{"split": s, "url": f"{url}{path}", "config": c, "size": 1000, "filename": "x"} for s, path, c in files]
    return json.dumps({"parquet_files": listed, "pending": [], "failed": []}).encode()


PARTS: dict[str, bytes | int] = {"/a": parquet(24, seed=1), "/b": parquet(24, seed=2), "/c": parquet(24, seed=3)}


def labels_of(path: Path, column: str = "label") -> list[Any]:
    return list(pq.read_table(path)[column].to_pylist())


def test_a_split_of_one_file_is_that_file(make: Callable[..., Path]) -> None:
    answers = dict(PARTS)
    with serving(answers) as url:
        answers["/parquet"] = hub([("train", "/a", "default"), ("test", "/b", "default")], url)
        assert make("hf:lab/photos:test", hub=url).read_bytes() == PARTS["/b"]


def test_files_of_one_split_become_one_file(make: Callable[..., Path]) -> None:
    answers = dict(PARTS)
    with serving(answers) as url:
        answers["/parquet"] = hub([("train", "/a", "default"), ("train", "/b", "default")], url)
        path = make("hf:lab/photos", hub=url)
    table = pq.read_table(path)
    assert table.column_names == ["image", "label"]
    expected = [pq.read_table(io.BytesIO(PARTS[name])) for name in ("/a", "/b")]  # type: ignore[arg-type]
    assert table.to_pylist() == [row for part in expected for row in part.to_pylist()]
    assert read_upload(path).counts == {"0": 24, "1": 24}


def test_splits_stand_in_a_column_of_their_own(make: Callable[..., Path]) -> None:
    answers = dict(PARTS)
    with serving(answers) as url:
        listed = [("train", "/a", "default"), ("train", "/b", "default"), ("test", "/c", "default")]
        answers["/parquet"] = hub([*listed, ("train", "/never", "other")], url)
        path = make("hf:lab/photos", hub=url)
    assert labels_of(path, "split") == ["train"] * 48 + ["test"] * 24
    assert len(read_upload(path).data.images) == 72


def test_names_of_classes_are_kept(make: Callable[..., Path]) -> None:
    feature = {"info": {"features": {"label": {"names": ["even", "odd"], "_type": "ClassLabel"}}}}
    table = pq.read_table(io.BytesIO(parquet()))
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"huggingface": json.dumps(feature).encode()}), buffer)
    answers: dict[str, bytes | int] = {"/a": buffer.getvalue(), "/b": buffer.getvalue()}
    with serving(answers) as url:
        answers["/parquet"] = hub([("train", "/a", "plain"), ("test", "/b", "plain")], url)
        assert read_upload(make("hf:photos", hub=url)).counts == {"even": 24, "odd": 24}


def test_the_hub_is_asked_for_the_name(make: Callable[..., Path]) -> None:
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(urlsplit(self.path))
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with pytest.raises(InvalidInput):
            make("hf:lab/my photos&x=1", hub=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [(part.path, parse_qs(part.query)) for part in seen] == [("/parquet", {"dataset": ["lab/my photos&x=1"]})]


@pytest.mark.parametrize(
    ("files", "source", "mend"),
    [
        ([("train", "/a", "default")], "hf:photos:valid", "it has no such split; it has: train"),
        ([], "hf:photos", "it has no such split; it has: none"),
        ([("train", "/a", "de"), ("train", "/b", "en")], "hf:photos", "it has the variants de, en"),
        ([("train", "/gone", "default")], "hf:photos", "the server answers 404"),
        ([("train", "/a", "default"), ("test", "/other", "default")], "hf:photos", "do not fit together"),
        ([("train", "/a", "default"), ("test", "/none", "default")], "hf:photos", "do not fit together"),
        ([("train", "/a", "default")] * 11, "hf:photos", "more than 10,000 bytes"),
        ([], "hf:", "it has to be hf:NAME or hf:NAME:SPLIT"),
        ([], "hf:a:b:c", "it has to be hf:NAME or hf:NAME:SPLIT"),
    ],
)
def test_what_the_hub_does_not_have_is_answered_with_what_it_has(
    make: Callable[..., Path], files: list[tuple[str, str, str]], source: str, mend: str
) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["x"]}), buffer)
    answers: dict[str, bytes | int] = PARTS | {"/other": buffer.getvalue(), "/none": b"no parquet"}
    with serving(answers) as url:
        answers["/parquet"] = hub(files, url)
        with pytest.raises(InvalidInput, match=mend):
            make(source, max_bytes=10_000 if len(files) > 10 else MAX_BYTES, hub=url)


@pytest.mark.parametrize("answer", [b"no json", b"[]", b"{}", b'{"parquet_files": [{"url": 1}]}', b"null", 500, 401])
def test_a_hub_that_answers_otherwise_is_named(make: Callable[..., Path], answer: bytes | int) -> None:
    with (
        serving({"/parquet": answer}) as url,
        pytest.raises(InvalidInput, match=r"the hub says: it is gated \((500|401)\)|lists no Parquet files"),
    ):
        make("hf:photos", hub=url)


def test_a_hub_that_does_not_answer_is_named(make: Callable[..., Path]) -> None:
    with pytest.raises(InvalidInput, match="the hub does not answer"):
        make("hf:photos", hub="http://127.0.0.1:9")


def test_pictures_are_what_they_were(make: Callable[..., Path], folder: Path) -> None:
    """From a folder to the images of the data set."""
    image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    (folder / "cat" / "000.png").write_bytes(png(image))
    np.testing.assert_array_equal(read_upload(make(folder)).data.images[0], image.transpose(2, 0, 1))
