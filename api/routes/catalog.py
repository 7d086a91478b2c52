"""What can be asked for."""

from fastapi import APIRouter

from api.schemas import Items, Named, Published, StrategyInfo
from nas.search.catalog import strategies
from nas.space import known, to_text
from nas.space.known import SOURCES
from nas.space.operations import known_operations
from nas.spec import JobSpec

router = APIRouter(prefix="/v1", tags=["catalog"])


@router.get("/strategies")
def list_strategies() -> Items[StrategyInfo]:
    """How candidates can be chosen, each way with the JSON schema of its options."""
    default = JobSpec.model_fields["strategy"].default
    return Items[StrategyInfo](
        items=[
            StrategyInfo(
                name=name,
                summary=entry.summary,
                source=entry.source,
                default=name == default,
                prepares=entry.prepares or "nothing",
                options=entry.options.model_json_schema(),
            )
            for name, entry in strategies().items()
        ]
    )


@router.get("/genotypes")
def list_genotypes() -> Items[Published]:
    """Published genotypes, to start a job from."""
    return Items[Published](
        items=[
            Published(
                name=name,
                darts=to_text(known(name)),
                genotype=known(name).to_json(),
                source=source.paper,
                file=source.file,
            )
            for name, source in SOURCES.items()
        ]
    )


@router.get("/operations")
def list_operations() -> Items[Named]:
    """What an edge of a cell can be: the project's operations, and the user's own (NAS_PLUGINS)."""
    return Items[Named](items=[Named(name=name, summary=summary) for name, summary in known_operations().items()])
