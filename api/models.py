"""Which models there are, as OpenAI lists them, with what a household wants to know besides."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.auth import CurrentMember
from api.front import CurrentFront, Front
from api.gate import may_use
from api.schemas import refusals
from familyai.catalogue import Task
from familyai.errors import NotFound
from familyai.members import Member
from routing.resolve import SHOWN, Target, names, resolve

router = APIRouter(prefix="/v1", tags=["models"], responses=refusals(401, 403, 503))

_CREATED_S = 1735689600  # the list is configuration and has no age; OpenAI's clients insist on a number


class ModelCard(BaseModel):
    """A name that requests may use as their `model`."""

    id: str = Field(description="The name: a queue, an alias, or the model's own id.")
    object: str = "model"
    created: int = _CREATED_S
    owned_by: str = "familyai"
    model: str = Field(description="The model that answers, by its Hugging Face id.")
    queue: str = Field(description="The queue that requests under this name wait in.")
    tasks: list[Task] = Field(description="What it can be asked for.")
    context_tokens: int | None = Field(description="Longest prompt plus answer, where the catalogue limits it.")
    resident: bool = Field(description="Whether it is in memory from the start, or swapped in on demand.")


class ModelList(BaseModel):
    object: str = "list"
    data: list[ModelCard]


@router.head("/models", include_in_schema=False)
@router.get("/models", summary="List models")
async def list_models(front: CurrentFront, member: CurrentMember) -> ModelList:
    """Every name that this member can use as `model`: aliases first, then queues."""
    return ModelList(data=[_card(name, target, front) for name, target in _theirs(member, front).items()])


@router.get("/models/{name:path}", summary="Retrieve a model", responses=refusals(404))
async def retrieve_model(name: str, front: CurrentFront, member: CurrentMember) -> ModelCard:
    """One name that this member can use: a queue, an alias, or a model's own id."""
    target = resolve(name, front.profile)
    if not may_use(member.allowance(front.profile.roles), target):
        theirs = ", ".join(_theirs(member, front)) or "none"
        words = f"there is no model '{name[:SHOWN]}' for you; you can use: {theirs}"
        raise NotFound(words, param="model", code="model_not_found")
    return _card(name, target, front)


def _theirs(member: Member, front: Front) -> dict[str, Target]:
    """The names that they may use, and where each leads."""
    allowance = member.allowance(front.profile.roles)
    targets = {name: resolve(name, front.profile) for name in names(front.profile)}
    return {name: target for name, target in targets.items() if may_use(allowance, target)}


def _card(name: str, target: Target, front: Front) -> ModelCard:
    return ModelCard(
        id=name,
        model=target.model.model,
        queue=target.physical,
        tasks=list(target.model.tasks),
        context_tokens=target.model.context_tokens,
        resident=target.physical in front.profile.resident,
    )
