"""What can be asked for."""

from fastapi import APIRouter

from api.deps import Service
from api.schemas import DatasetInfo, Items, Named
from nas.data.builtin import BUILTIN
from nas.search.catalog import STRATEGIES
from nas.space.operations import OPERATIONS
from nas.store import datasets

router = APIRouter(prefix="/v1", tags=["catalog"])


@router.get("/datasets")
def list_datasets(service: Service) -> Items[DatasetInfo]:
    """Data sets by name: the built-in ones, and what has been added."""
    with service.store.read() as session:
        stored = {row.name: row for row in datasets.listed(session)}
    summaries = {name: builtin.summary for name, builtin in BUILTIN.items()}
    unused = {"image": None, "classes": None, "splits": None, "digest": None}
    return Items[DatasetInfo](
        items=[
            DatasetInfo.of(stored[name], summaries.get(name, "added by hand"))
            if name in stored
            else DatasetInfo.model_validate({"name": name, "summary": summaries[name], **unused})
            for name in sorted(summaries.keys() | stored.keys())
        ]
    )


@router.get("/strategies")
def list_strategies() -> Items[Named]:
    """How candidates can be chosen."""
    return Items[Named](
        items=[Named(name=name, summary=entry.summary, source=entry.source) for name, entry in STRATEGIES.items()]
    )


@router.get("/operations")
def list_operations() -> Items[Named]:
    """What an edge of a cell can be."""
    return Items[Named](items=[Named(name=name, summary=summary) for name, summary in OPERATIONS.items()])
