"""Is the server alive, and can it serve?"""

from http import HTTPStatus

from fastapi import APIRouter, Response
from sqlalchemy.exc import SQLAlchemyError

from api.deps import Service
from api.errors import Problem, problem
from api.schemas import Health
from nas.errors import SchemaDiffers
from nas.store.migrate import check_schema

router = APIRouter(tags=["health"])


@router.get("/healthz")
def alive() -> Health:
    """200 as long as the process answers."""
    return Health(status="ok")


@router.get("/readyz", response_model=Health, responses={503: {"model": Problem}})
def ready(service: Service) -> Health | Response:
    """200 if database and artifact store can be used, else 503 and why."""
    try:
        check_schema(service.store)
        service.artifacts.check()
    except (SchemaDiffers, SQLAlchemyError, OSError, RuntimeError) as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{type(error).__name__}: {error}")
    return Health(status="ok")
