"""Trying a finished model: what it says of an image."""

import tempfile
from pathlib import Path
from typing import Final

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from api import multipart
from api.deps import Parts, Service
from api.parameters import PROBLEM, JobId
from nas.errors import ArtifactDamaged, InvalidInput, NotReady
from nas.result.predict import Models, Said
from nas.store import files, jobs

AT_ONCE: Final = 2
"""Images that are looked at at once; each can take a processor."""

SHOWN: Final = 1000
"""Classes that an answer names, the likeliest ones."""

_FORM: Final = {
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP, BMP, TIFF or GIF"}},
}

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses={404: PROBLEM, 422: PROBLEM})


class Share(BaseModel):
    """How probable a class is; of several labels each by itself."""

    name: str
    probability: float


class Target(BaseModel):
    """What a regression says of a target, in the units of the data."""

    name: str
    value: float


class Prediction(BaseModel):
    """What a model says of an image."""

    task: str = Field(description="single_label, multi_label or regression")
    classes: list[Share] = Field(description=f"the likeliest first, {SHOWN:,} at the most; empty of a regression")
    targets: list[Target] = Field(description="of a regression; else empty")
    ms: float = Field(description="that the network took, on one thread")

    @classmethod
    def of(cls, said: Said) -> "Prediction":
        """From what the model said."""
        named = list(said.values.items())
        shares, targets = ([], named) if said.task == "regression" else (named[:SHOWN], [])
        return cls(
            task=said.task,
            classes=[Share(name=name, probability=share) for name, share in shares],
            targets=[Target(name=name, value=value) for name, value in targets],
            ms=round(said.ms, 3),
        )


@router.post(
    "/{job_id}/predict",
    responses=dict.fromkeys((409, 413, 503), PROBLEM),
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}},
)
async def predict(request: Request, service: Service, job_id: JobId) -> Prediction:
    """What the job's model says of an image, which is scaled as the images of its data set were. Nothing is kept."""
    looking: CapacityLimiter = request.app.state.looking
    models: Models = request.app.state.models
    sha256 = await to_thread.run_sync(_package, service, job_id)
    uploads = service.settings.home / "uploads"  # not in the system's temporary folder, which may be in memory
    uploads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=uploads) as folder:
        path = Path(folder) / "image"
        form = await multipart.receive(request, path, {}, multipart.IMAGE)

        def look() -> Said:
            model = models.get(sha256, lambda: _content(service, sha256))
            try:
                return model.say(path)
            except InvalidInput as error:
                mend = error.mend.replace("leave it out", "send another one")  # which is said of one file of many
                raise InvalidInput(multipart.FILE, form.filename, mend) from error

        said = await to_thread.run_sync(look, limiter=looking)
    return Prediction.of(said)


def _content(service: Parts, sha256: str) -> bytes:
    try:
        return service.artifacts.get(sha256)
    except FileNotFoundError as error:
        raise ArtifactDamaged(f"artifact {sha256} is missing; restore it from a backup") from error


def _package(service: Parts, job_id: str) -> str:
    with service.store.read() as session:
        job = jobs.get(session, job_id)
        sha256 = files.package(session, job_id)
    if sha256 is None:
        raise NotReady(f"job {job_id} has no model to try yet: it is {job.state}; it has one when it has succeeded")
    return sha256
