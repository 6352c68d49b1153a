"""The router, asked for its opinion: which model a request would get, and why, without running anything."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.asking import AskingMember
from api.body import QUICK_BYTES, RawBody, parsed
from api.choose import Asked, aside, decided, moment_of
from api.front import CurrentFront
from api.schemas import ChatRequest, json_body, refusals
from api.wishes import CurrentWishes
from routing.conversation import read
from routing.decide import Decision

router = APIRouter(prefix="/v1", tags=["models"])


class RouteRequest(ChatRequest):
    model: str = Field("auto", description="The name that would be asked for.")


class Signal(BaseModel):
    name: str = Field(description="What was seen in the request.")
    weight: float = Field(description="How much it spoke for the kind, against the next best one: log-odds.")


class RouteDecision(BaseModel):
    """Where a request would go if it were made now."""

    object: str = "route"
    queue: str = Field(description="The queue, as the catalogue names it.")
    model: str = Field(description="The model that serves it, by its Hugging Face id.")
    kind: str = Field(description="What the request was taken for; `named`: it names its model.")
    confidence: float = Field(description="How sure the router is of the kind, from 0 to 1.")
    signals: list[Signal] = Field(description="What spoke for it, and against; the strongest first.")
    reason: str = Field(description="In one line.")
    fallbacks: list[str] = Field(description="The queues that would serve it instead, in this order.")


@router.post(
    "/route",
    summary="Explain a route",
    responses=refusals(400, 401, 403, 404, 413, 503),
    openapi_extra=json_body(RouteRequest),
)
async def explain_route(
    front: CurrentFront, member: AskingMember, wishes: CurrentWishes, data: RawBody
) -> RouteDecision:
    """Takes a chat request (or any other that generates), and runs nothing. Without a `model` it means `auto`."""
    body = await parsed(data)
    if body.get("model") is None:
        body["model"] = "auto"
    asked = Asked("/v1/route", member, body, wishes=wishes, is_large=len(data) > QUICK_BYTES)
    moment = await moment_of(front, asked, await aside(asked, read, body))
    return _told(await aside(asked, decided, front, asked, moment))


def _told(decision: Decision) -> RouteDecision:
    return RouteDecision(
        queue=decision.target.queue,
        model=decision.target.model.model,
        kind=decision.kind,
        confidence=decision.confidence,
        signals=[Signal(name=signal.name, weight=signal.weight) for signal in decision.signals],
        reason=decision.reason,
        fallbacks=list(decision.fallbacks),
    )
