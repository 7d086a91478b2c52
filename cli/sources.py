"""What `nas datasets add` can be given, made into one file that the service reads.

A folder or a tar of class folders becomes a zip, a URL is downloaded, Parquet files of the Hugging Face hub become one.
"""

import os
import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final
from urllib.parse import unquote, urlsplit

import httpx
from rich.progress import Progress

from nas.errors import InvalidInput

HUB: Final = "https://datasets-server.huggingface.co"
"""The dataset viewer of the Hugging Face hub: https://huggingface.co/docs/dataset-viewer/parquet"""

CHUNK_BYTES: Final = 1 << 20
ROWS: Final = 256
"""Rows of a Parquet file that are held at once."""

_ENDINGS: Final = re.compile(r"\.(tar\.\w+|tgz|txz|tbz2?|tar|zip|npz|parquet)$", re.IGNORECASE)


def default_name(source: str) -> str:
    """A name for the data set: the last part of a path, a URL or a hub's name, made safe."""
    if source.startswith("hf:"):
        last = source.split(":")[1].rsplit("/", 1)[-1]
    elif _is_url(source):
        last = _file_of(source)
    else:
        last = Path(source).resolve().name
    return re.sub(r"[^\w.-]+", "-", _ENDINGS.sub("", last)).strip("-.") or "images"


def prepare(source: str, scratch: Path, max_bytes: int, bars: Progress, hub: str = HUB) -> Path:
    """The file to upload.

    Args:
        source: path of a zip, npz or Parquet file, of a folder or a tar of class folders; a URL of such a file; or
            `hf:NAME` or `hf:NAME:SPLIT` for a data set of the hub.
        scratch: an empty folder for what has to be made first.
        max_bytes: nothing larger is downloaded or packed.
        bars: where progress is shown.
        hub: URL of the hub's dataset viewer.

    Raises:
        InvalidInput: nothing is there, or it cannot be made into a file that can be uploaded.
    """
    target = scratch / f"{default_name(source)}.zip"
    try:
        if source.startswith("hf:"):
            return _from_hub(source, scratch, max_bytes, bars, hub)
        if _is_url(source):
            path = scratch / (_file_of(source) or "download")
            _download(source, path, max_bytes, bars)
        else:
            path = Path(source)
            if path.is_dir():
                return _zip_folder(path, target, max_bytes, bars)
        return _zip_tar(path, target, max_bytes, bars) if tarfile.is_tarfile(path) else path
    except FileNotFoundError as error:
        mend = "there is no such file or folder; give a path, an http(s) URL, or hf:NAME"
        raise InvalidInput("source", source, mend) from error
    except (OSError, EOFError, tarfile.TarError, zipfile.LargeZipFile) as error:
        raise InvalidInput("source", source, f"it cannot be read ({error})") from error


def _is_url(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def _file_of(url: str) -> str:
    try:
        return PurePosixPath(unquote(urlsplit(url).path)).name
    except ValueError as error:
        raise InvalidInput("source", url, f"it is no URL ({error})") from error


def _zip_folder(folder: Path, target: Path, max_bytes: int, bars: Progress) -> Path:
    """Files by their paths within the folder, as they are: images are compressed already."""
    paths = list(_files(folder))
    sizes = [path.stat().st_size for path in paths]
    _check_total(str(folder), len(paths), sum(sizes), max_bytes)
    task = bars.add_task("packing", total=sum(sizes))
    with zipfile.ZipFile(target, "w", strict_timestamps=False) as archive:
        for path, size in zip(paths, sizes, strict=True):
            _add(archive, path.relative_to(folder).as_posix(), path.open("rb"))
            bars.advance(task, size)
    return target


def _files(folder: Path) -> Iterator[Path]:
    """All files but hidden ones, in one order everywhere. Raises InvalidInput at a link that leaves the folder."""
    home = folder.resolve()
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in (*folders, *names) if not name.startswith(".")):
            path = Path(place) / name
            if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(home)):
                mend = f"{path} is a link to a folder or out of this one; put what it links to in its place"
                raise InvalidInput("source", str(folder), mend)
            if path.is_file():
                yield path


def _zip_tar(path: Path, target: Path, max_bytes: int, bars: Progress) -> Path:
    """Regular files of a tar, read once from front to back; nothing is written to a path that the tar names."""
    total, count = 0, 0
    task = bars.add_task("repacking", total=None)
    with tarfile.open(path, "r|*") as packed, zipfile.ZipFile(target, "w") as archive:
        for member in packed:
            packed.members = []  # type: ignore[attr-defined]  # it would keep them all
            name = PurePosixPath(member.name)
            if member.isdir() or any(part.startswith(".") and part != ".." for part in name.parts):
                continue
            if name.is_absolute() or ".." in name.parts or not member.isreg():
                mend = f"{member.name!r} in it is a link, a device, or outside of it; pack plain files (tar -h)"
                raise InvalidInput("source", str(path), mend)
            total, count = total + member.size, count + 1
            _check_total(str(path), count, total, max_bytes)
            content = packed.extractfile(member)
            if content is not None:
                _add(archive, name.as_posix(), content)  # type: ignore[arg-type]  # typeshed's IO[bytes]
            bars.advance(task, member.size)
    _check_total(str(path), count, total, max_bytes)
    return target


def _add(archive: zipfile.ZipFile, name: str, content: BinaryIO) -> None:
    with content:
        # Bytes that are no UTF-8 are unprintable as well.
        if not name.isprintable() or name in archive.NameToInfo:
            mend = "a file of that name is there twice, or the name cannot be printed; rename it"
            raise InvalidInput("source", name.encode(errors="replace").decode(), mend)
        with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
            while chunk := content.read(CHUNK_BYTES):
                entry.write(chunk)


def _check_total(source: str, count: int, total: int, max_bytes: int) -> None:
    if count == 0:
        raise InvalidInput("source", source, "there are no files in it; it needs a folder of images for each class")
    if total > max_bytes:
        raise _too_large(source, max_bytes)


def _too_large(source: str, max_bytes: int) -> InvalidInput:
    mend = (
        f"it has more than {max_bytes:,} bytes; use less of it, or raise NAS_MAX_UPLOAD_BYTES here and at the service"
    )
    return InvalidInput("source", source, mend)


def _download(url: str, path: Path, max_bytes: int, bars: Progress) -> None:
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=60) as answer, path.open("wb") as file:
            if answer.is_error:
                mend = f"the server answers {answer.status_code} {answer.reason_phrase}; see if a browser can open it"
                raise InvalidInput("source", url, mend)
            length = answer.headers.get("Content-Length", "")
            task = bars.add_task("downloading", total=int(length) if length.isdigit() else None)
            for chunk in answer.iter_bytes(CHUNK_BYTES):
                file.write(chunk)
                bars.advance(task, len(chunk))
                if file.tell() > max_bytes:
                    raise _too_large(url, max_bytes)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InvalidInput("source", url, f"it cannot be downloaded ({error}); see if a browser can open it") from error


def _from_hub(source: str, scratch: Path, max_bytes: int, bars: Progress, hub: str) -> Path:
    _, name, split, *more = [*source.split(":"), ""]
    if not name or any(more):
        raise InvalidInput("source", source, "it has to be hf:NAME or hf:NAME:SPLIT, such as hf:ylecun/mnist:train")
    listed = _listed(source, name, split, hub)
    if sum(entry["size"] for entry in listed) > max_bytes:
        raise _too_large(source, max_bytes)
    splits = {entry["split"] for entry in listed}
    parts: list[tuple[Path, str | None]] = []
    for number, entry in enumerate(listed):
        path = scratch / f"part-{number}.parquet"
        _download(entry["url"], path, max_bytes, bars)
        parts.append((path, entry["split"] if len(splits) > 1 else None))
    if len(parts) == 1:
        return parts[0][0]
    return _merge(source, parts, scratch / f"{default_name(source)}.parquet")


def _listed(source: str, name: str, split: str, hub: str) -> list[dict[str, Any]]:
    """The Parquet files of a data set on the hub, as it lists them."""
    try:
        answer = httpx.get(f"{hub}/parquet", params={"dataset": name}, follow_redirects=True, timeout=60)
        document = answer.json()
        if answer.is_error:
            mend = (
                f"the hub says: {document['error']} ({answer.status_code}); see https://huggingface.co/datasets/{name}"
            )
            raise InvalidInput("source", source, mend)
        files: list[dict[str, Any]] = [
            {"url": str(entry["url"]), "split": str(entry["split"]), "size": int(entry["size"])}
            | {"config": str(entry.get("config", "default"))}
            for entry in document["parquet_files"]
        ]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        mend = f"the hub does not answer ({error}); download the Parquet file elsewhere, and add that"
        raise InvalidInput("source", source, mend) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        mend = "the hub's answer lists no Parquet files; download them from its page, and add them one by one"
        raise InvalidInput("source", source, mend) from error
    configs = sorted({entry["config"] for entry in files})
    if len(configs) > 1 and "default" not in configs:
        mend = f"it has the variants {', '.join(configs)}; download the Parquet files of one, and add that"
        raise InvalidInput("source", source, mend)
    files = [entry for entry in files if len(configs) == 1 or entry["config"] == "default"]
    chosen = [entry for entry in files if split in ("", entry["split"])]
    if not chosen:
        splits = ", ".join(sorted({entry["split"] for entry in files})) or "none"
        raise InvalidInput("source", source, f"it has no such split; it has: {splits}")
    return chosen


def _merge(source: str, parts: Sequence[tuple[Path, str | None]], target: Path) -> Path:
    """Files of the same columns one after the other, each with its split in a column `split` if it has one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    try:
        for path, split in parts:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=ROWS):
                    table = pa.Table.from_batches([batch])
                    if split is not None:
                        kept = [column for column in table.column_names if column != "split"]
                        column = pa.array([split] * len(table), pa.string())
                        table = table.select(kept).append_column("split", column)
                    if writer is None:  # the first file's metadata have the names of the classes
                        schema = table.schema.with_metadata(file.schema_arrow.metadata)
                        writer = pq.ParquetWriter(target, schema, use_dictionary=False)
                    writer.write_table(table.cast(writer.schema))
            path.unlink()
    except (pa.ArrowException, ValueError) as error:
        mend = f"its Parquet files do not fit together ({error}); add one split of it, hf:NAME:SPLIT"
        raise InvalidInput("source", source, mend) from error
    finally:
        if writer is not None:
            writer.close()
    return target
