"""For machines that watch: is the process alive, can the household answer, how is it doing."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from api.front import CurrentFront, Front
from familyai.broker import BROKER_ERRORS

router = APIRouter(tags=["operations"])


class Readiness(BaseModel):
    status: str = Field(description="`ok` or `unavailable`.")
    parts: dict[str, str] = Field(description="Each part: `ok`, or what is wrong with it.", examples=[{"broker": "ok"}])


_READY: dict[int | str, dict[str, Any]] = {
    200: {"model": Readiness, "description": "Every part is up."},
    503: {"model": Readiness, "description": "`parts` names what is down."},
}


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Is this process alive?")
async def health() -> dict[str, str]:
    """Says nothing about the broker or the models: see `/health/ready`."""
    return {"status": "ok"}


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready", summary="Can every resident model answer?", responses=_READY)
async def ready(front: CurrentFront) -> JSONResponse:
    """Each part, and whether it is up: the broker, the subscription to replies, a worker for every resident model."""
    down = await _down(front)
    status = "unavailable" if any(down.values()) else "ok"
    answer = Readiness(status=status, parts={part: reason or "ok" for part, reason in down.items()})
    return JSONResponse(answer.model_dump(), status_code=503 if any(down.values()) else 200)


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
async def metrics(front: CurrentFront) -> Response:
    """Of this front process; the workers have their own."""
    await _measure(front)
    return Response(generate_latest(front.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _down(front: Front) -> dict[str, str]:
    """Each part, with the reason why it is down or an empty string."""
    queues = list(front.profile.resident)
    connected = front.replies.subscription.connected.is_set()
    parts = {"broker": "", "replies": "" if connected else "not subscribed"}
    try:
        alive = await front.registry.alive(queues)
    except BROKER_ERRORS:
        return parts | {"broker": "does not answer"} | {f"queue {queue}": "unknown" for queue in queues}
    return parts | {f"queue {queue}": "" if alive[queue] else "no worker" for queue in queues}


async def _measure(front: Front) -> None:
    queues = list(front.profile.models)
    front.metrics.open_replies.set(len(front.replies.all()))
    try:
        alive = await front.registry.alive(queues)
        for queue in queues:
            front.metrics.workers.labels(queue).set(len(alive[queue]))
            front.metrics.waiting.labels(queue).set(await front.jobs.waiting(queue))
    except BROKER_ERRORS:
        front.metrics.broker_up.set(0)
    else:
        front.metrics.broker_up.set(1)
