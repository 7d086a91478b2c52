"""Data sets: what there is, and how one's own gets there."""

import contextlib
import errno
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from api.access import CurrentCaller
from api.dataset_schemas import DatasetInfo
from api.deps import Parts, Service
from api.errors import Problem, problem
from api.idempotency import Key, Once
from api.keyring import Caller
from api.multipart import Form, receive
from api.parameters import PLAIN
from api.schemas import Items
from api.words import mend
from nas.data.builtin import BUILTIN
from nas.errors import Forbidden, InvalidInput, NotFound
from nas.settings import Settings
from nas.spec import MAX_SEED, Name
from nas.store import datasets, owners
from nas.store.tables import Dataset

DECODERS: Final = 2
"""Uploads that are read at once; each can take a processor and the memory of its images. Others wait on the disk."""

ABANDONED_S: Final = 86_400.0
"""No upload takes a day: what is older was left by a process that was killed."""

_PROBLEM: dict[str, Any] = {"model": Problem}
router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

DatasetName = Annotated[str, Path(max_length=200, pattern=PLAIN, description="name of a data set")]

Of = Annotated[
    str | None,
    Query(max_length=100, pattern=PLAIN, description="whose it is, for admins; by default one's own, or everyone's"),
]

_FORM: Final = {
    "type": "object",
    "required": ["file", "name"],
    "properties": {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "a zip of class folders, an .npz of images and labels, or a Parquet file as on Hugging Face",
        },
        "name": {"type": "string", "minLength": 1, "maxLength": 200, "description": "what jobs call it"},
        "size": {"type": "integer", "minimum": 8, "maximum": 512, "description": "side that images are scaled to"},
        "seed": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_SEED,
            "description": "of the split, where it has none",
        },
    },
}


@router.get("")
def list_datasets(service: Service, caller: CurrentCaller) -> Items[DatasetInfo]:
    """Data sets by name: the built-in ones, and what the caller has uploaded; admins see everybody's."""
    with service.store.read() as session:
        stored = [DatasetInfo.of(row) for row in datasets.listed(session, caller.only)]
    unused = [DatasetInfo.unused(name) for name in BUILTIN.keys() - {info.name for info in stored}]
    return Items[DatasetInfo](items=sorted(stored + unused, key=lambda info: (info.name, info.owner or "")))


@router.get("/{name}", responses={404: _PROBLEM, 422: _PROBLEM})
def show_dataset(service: Service, caller: CurrentCaller, name: DatasetName, owner: Of = None) -> DatasetInfo:
    """A data set, with what the reading of its upload passed over."""
    with service.store.read() as session:
        row = datasets.find(session, name, _whose(caller, name, owner))
    if row is not None:
        return DatasetInfo.of(row)
    if name in BUILTIN:
        return DatasetInfo.unused(name)
    raise _no_dataset(name)


@router.post(
    "",
    status_code=201,
    response_model=DatasetInfo,
    responses={
        200: {"model": DatasetInfo, "description": "it was there already, with the same content"},
        **dict.fromkeys((409, 413, 422, 507), _PROBLEM),
    },
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}},
)
async def add_dataset(request: Request, service: Service, caller: CurrentCaller, key: Key = None) -> Response:
    """Uploads a data set under a name of one's own, for jobs to ask for. The same upload again changes nothing."""
    decoding: CapacityLimiter = request.app.state.decoding
    uploads = _uploads(service.settings)
    await to_thread.run_sync(_check_room, service, caller.owner)
    try:
        uploads.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=uploads) as folder:
            path = FilePath(folder) / "upload"
            form = await receive(request, path, _READERS)
            if "name" not in form.texts:
                raise InvalidInput("name", None, "this field is required")
            once = await to_thread.run_sync(_once, request, caller.owner, key, form, path)
            await to_thread.run_sync(once.check, service.store)
            row, is_new = await to_thread.run_sync(_store, service, caller.owner, form, path, limiter=decoding)
    except ClientDisconnect:
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return problem(HTTPStatus.INSUFFICIENT_STORAGE, "the service has no room left; make some, and send it again")
    return await to_thread.run_sync(_answer, service, once, DatasetInfo.of(row), is_new)


@router.delete("/{name}", status_code=204, responses={404: _PROBLEM, 409: _PROBLEM, 422: _PROBLEM})
def delete_dataset(service: Service, caller: CurrentCaller, name: DatasetName, owner: Of = None) -> Response:
    """Deletes a data set that no job has been asked for on.

    A built-in one is everyone's, so that only admins may; it is stored again when it is asked for.
    """
    if name in BUILTIN and caller.only is not None:
        raise Forbidden(f"the data set {name!r} is everyone's; only admins may delete it")
    datasets.delete(service.store, service.artifacts, name, _whose(caller, name, owner))
    return Response(status_code=HTTPStatus.NO_CONTENT)


def clear_abandoned(settings: Settings) -> None:
    """Deletes what uploads of killed processes have left."""
    for folder in _uploads(settings).glob("*"):
        with contextlib.suppress(FileNotFoundError):  # its upload has just ended
            if time.time() - folder.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)


def _once(request: Request, owner: str, key: str | None, form: Form, path: FilePath) -> Once:
    """The upload by what it says: its fields and the sha256 of its file."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return Once.of(request, owner, key, json.dumps([form.texts, content], sort_keys=True).encode())


def _answer(service: Parts, once: Once, shown: DatasetInfo, is_new: bool) -> Response:
    """The answer, kept for its key. Where a kill came before this, the upload sent again changes nothing either."""
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    with service.store.write() as session:
        once.begin(session)
        return once.keep(session, status, shown, {"Location": shown.links["self"]})


def _uploads(settings: Settings) -> FilePath:
    """Where uploads pass through: not in the system's temporary folder, which may be in memory."""
    return settings.home / "uploads"


def _whose(caller: Caller, name: str, owner: str | None) -> str:
    """The owner whose data set is meant. Raises NotFound if the caller does not see what is another's."""
    if owner is not None and not caller.sees(owner):
        raise _no_dataset(name)
    return owner or caller.owner


def _no_dataset(name: str) -> NotFound:
    return NotFound(f"there is no data set {name!r}; GET /v1/datasets lists them")


def _check_room(service: Parts, owner: str) -> None:
    with service.store.read() as session:
        owners.check_room(session, owner, service.settings.max_stored_bytes)


def _store(service: Parts, owner: str, form: Form, path: FilePath) -> tuple[Dataset, bool]:
    """Reads the upload and stores it; takes as long as its images need."""
    from nas.data.upload import read_upload  # image and table formats: imports that only uploads need

    seed = form.texts.get("seed") or 0
    try:
        upload = read_upload(path, seed=seed, size=form.texts.get("size"))
    except InvalidInput as error:
        if error.value != path.name:
            raise
        raise InvalidInput(error.field, form.filename, error.mend) from error  # what the user calls it
    return datasets.offer(
        service.store,
        service.artifacts,
        form.texts["name"],
        upload.data,
        warnings=upload.warnings,
        seed=seed,
        scratch=path.parent,
        owner=owner,
        max_stored_bytes=service.settings.max_stored_bytes,
    )


def _reader(field: str, kind: Any) -> Callable[[str], Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def read(text: str) -> Any:
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            raise InvalidInput(field, text, mend(error.errors()[0])) from error

    return read


def _free(name: str) -> str:
    if name in BUILTIN:
        raise ValueError("a built-in data set has that name; choose another one")
    if "/" in name or name in (".", ".."):
        raise ValueError("it stands in URLs: it may have no /, and may not be . or ..; choose another one")
    return name


def _or_none(text: str) -> str | None:
    return text or None  # what a form in a browser sends for a field that was left empty


_READERS: Final = {
    "name": _reader("name", Annotated[Name, AfterValidator(_free)]),
    "size": _reader("size", Annotated[Annotated[int, Field(ge=8, le=512)] | None, BeforeValidator(_or_none)]),
    "seed": _reader("seed", Annotated[Annotated[int, Field(ge=0, le=MAX_SEED)] | None, BeforeValidator(_or_none)]),
}
