"""What a trial takes of a Ray cluster. No torch."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from nas.strict import Strict

_BUILT_IN = {"cpu": "cpus", "gpu": "gpus", "memory": None, "object_store_memory": None}
"""Names that Ray has a meaning of its own for → the field here that says it."""


def _own(name: str) -> str:
    if name.lower() in _BUILT_IN:
        field = _BUILT_IN[name.lower()]
        raise ValueError(f"{name!r} is Ray's own; {f'say resources.{field}' if field else 'it cannot be asked for'}")
    return name


CustomName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$"), AfterValidator(_own)]
Amount = Annotated[float, Field(gt=0, le=1_000_000)]


class ResourcesSpec(Strict):
    """What a trial of a Ray job takes; so many run on a node as it has room for."""

    cpus: float = Field(1.0, gt=0, le=1024, description="CPUs; fractions below 1, whole numbers above")
    gpus: float = Field(0.0, ge=0, le=64, description="GPUs; 0.25 lets four trials share one")
    custom: dict[CustomName, Amount] = Field(
        {}, max_length=20, description="resources that the nodes were given names of"
    )

    @field_validator("cpus", "gpus")
    @classmethod
    def _whole_above_one(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("above 1 it has to be a whole number: a device is shared, or it is the trial's")
        return value

    @field_validator("cpus", "gpus")
    @classmethod
    def _as_fine_as_ray(cls, value: float) -> float:
        if round(value, 4) != value:
            raise ValueError("it has four digits after the point at the most, as Ray counts")
        return value
