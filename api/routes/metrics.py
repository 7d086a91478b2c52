"""Figures for Prometheus."""

from fastapi import APIRouter, Request, Response

from api.meters import MEDIA_TYPE, Meters

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus's text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
def show(request: Request) -> Response:
    """Jobs, trials, workers, what they spend their time on, what went wrong, and how fast the API answers.

    What comes from the database is up to five seconds old. Where there are keys, one of scope `admin` is needed.
    """
    meters = request.app.state.meters
    if not isinstance(meters, Meters):
        raise TypeError(meters)
    return Response(meters.text(), media_type=MEDIA_TYPE)
