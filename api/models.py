"""Which models there are, as OpenAI lists them, with what a household wants to know besides."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.auth import CurrentMember
from api.front import CurrentFront, Front
from api.schemas import refusals
from familyai.allowance import Allowance
from familyai.catalogue import Profile, Route, Task
from familyai.errors import NotFound
from familyai.kinds import Kind
from routing.resolve import SHOWN, Target, may_use, names, resolve, route_named, target

router = APIRouter(prefix="/v1", tags=["models"], responses=refusals(401, 403, 503))

OURS = "familyai"
_CREATED_S = 1735689600  # the list is configuration and has no age; OpenAI's clients insist on a number


class ModelCard(BaseModel):
    """A name that requests may use as their `model`. Under a route's, such as `auto`, the model is chosen for them."""

    id: str = Field(description="The name: a route, an alias, a queue, or the model's own id.")
    object: str = "model"
    created: int = _CREATED_S
    owned_by: str = Field(description="Who made the model, as Hugging Face names them; `familyai` for a route.")
    model: str | None = Field(description="The model that answers, by its Hugging Face id; null: chosen by request.")
    queue: str | None = Field(description="The queue that requests under this name wait in; null: the same.")
    tasks: list[Task] = Field(description="What it can be asked for.")
    capabilities: list[str] = Field(description="What it can besides: `vision`, `tools`, `reasoning`.")
    context_tokens: int | None = Field(description="Longest prompt plus answer, where the catalogue limits it.")
    resident: bool = Field(description="Whether it is in memory: a worker serves it now.")


class ModelList(BaseModel):
    object: str = "list"
    data: list[ModelCard]


@router.head("/models", include_in_schema=False)
@router.get("/models", summary="List models")
async def list_models(front: CurrentFront, member: CurrentMember) -> ModelList:
    """Every name that this member can use as `model`: routes first, then aliases, then queues."""
    return ModelList(data=await _theirs(front, member.allowance(front.profile.roles)))


@router.get("/models/{name:path}", summary="Retrieve a model", responses=refusals(404))
async def retrieve_model(name: str, front: CurrentFront, member: CurrentMember) -> ModelCard:
    """One name that this member can use: a route, an alias, a queue, or a model's own id."""
    allowance, alive = member.allowance(front.profile.roles), await front.router.alive()
    if card := _card(name, front.profile, allowance, alive):
        return card
    theirs = ", ".join(card.id for card in await _theirs(front, allowance)) or "none"
    words = f"there is no model '{name[:SHOWN]}' for you; you can use: {theirs}"
    raise NotFound(words, param="model", code="model_not_found")


async def _theirs(front: Front, allowance: Allowance) -> list[ModelCard]:
    alive = await front.router.alive()
    cards = (_card(name, front.profile, allowance, alive) for name in names(front.profile))
    return [card for card in cards if card is not None]


def _card(name: str, profile: Profile, allowance: Allowance, alive: frozenset[str]) -> ModelCard | None:
    """None for what they may not use. Raises NotFound."""
    if (route := route_named(name, profile)) is not None:
        return _route_card(name, _reached(route, profile, allowance), alive)
    to = resolve(name, profile)
    return _model_card(name, to, alive) if may_use(allowance, to) else None


def _reached(route: Route, profile: Profile, allowance: Allowance) -> list[Target]:
    """Everything it may choose for them."""
    kinds = (*route.kinds, Kind.VISION)
    queues = {queue: target(queue, profile) for kind in kinds for queue in profile.serving(kind)}
    return [to for to in queues.values() if may_use(allowance, to)]


def _model_card(name: str, to: Target, alive: frozenset[str]) -> ModelCard:
    return ModelCard(
        id=name,
        owned_by=to.model.owner,
        model=to.model.model,
        queue=to.physical,
        tasks=list(to.model.tasks),
        capabilities=to.model.capabilities,
        context_tokens=to.model.context_tokens,
        resident=to.physical in alive,
    )


def _route_card(name: str, reached: list[Target], alive: frozenset[str]) -> ModelCard | None:
    """What the best of them can."""
    if not reached:
        return None
    contexts = [to.model.context_tokens for to in reached]
    return ModelCard(
        id=name,
        owned_by=OURS,
        model=None,
        queue=None,
        tasks=[Task.GENERATE],
        capabilities=list(dict.fromkeys(able for to in reached for able in to.model.capabilities)),
        context_tokens=None if None in contexts else max(tokens for tokens in contexts if tokens is not None),
        resident=any(to.physical in alive for to in reached),
    )
