"""The endpoints that models answer. Each becomes a job for its model's queue; what comes back is the engine's own."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from api.answer import Answer
from api.asking import AskingMember
from api.body import RawBody, parse
from api.broker import broker_errors
from api.failures import dialect_of
from api.front import CurrentFront, Front
from api.gate import check_model, check_width
from api.relay import Relay
from api.schemas import (
    AnthropicEnvelope,
    ChatRequest,
    CompletionRequest,
    CountTokensRequest,
    EmbeddingsRequest,
    MessagesRequest,
    ResponsesRequest,
    json_body,
    refusals,
)
from api.submit import json_job, route_path
from api.wishes import CurrentWishes, Wishes
from familyai.catalogue import Task
from familyai.job import Job
from familyai.lanes import Priority
from familyai.members import Member
from routing.admit import admit
from routing.estimate import estimate
from routing.messages import check_conversation, check_message_request
from routing.ration import rationed
from routing.resolve import Target, default_name, resolve
from routing.side_tasks import is_side_task

router = APIRouter(prefix="/v1")

QUICK_BYTES = 256_000
"""Larger bodies are read beside the loop, on which everybody's answers travel."""

HEADERS = {
    "X-FamilyAI-Job-Id": {"description": "The job this request became.", "schema": {"type": "string"}},
    "X-FamilyAI-Model": {"description": "The model that answered.", "schema": {"type": "string"}},
    "X-FamilyAI-Queue": {"description": "The queue that was asked for.", "schema": {"type": "string"}},
    "X-FamilyAI-Queue-Wait-Ms": {
        "description": "How long it waited. Not in a stream that was opened while it did.",
        "schema": {"type": "integer"},
    },
    "X-FamilyAI-Queue-Position": {
        "description": "Where it stood in its line (1: next) shortly after it joined, or when its stream was opened. "
        "Only if it had to wait.",
        "schema": {"type": "integer"},
    },
    "X-FamilyAI-Queue-Eta-S": {
        "description": "In how many seconds its turn was expected then. Only once the model's pace was measured.",
        "schema": {"type": "integer"},
    },
}
_JSON: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
_JSON_OR_EVENTS = _JSON | {"text/event-stream": {"schema": {"type": "string"}}}


def _answers(content: dict[str, Any], **refused: Any) -> dict[int | str, dict[str, Any]]:
    success = {"description": "The engine's answer, unchanged.", "headers": HEADERS, "content": content}
    return {200: success, **refusals(**refused)}


_OPENAI = _answers(_JSON_OR_EVENTS)
_ANTHROPIC = _answers(_JSON_OR_EVENTS, envelope=AnthropicEnvelope)


Check = Callable[[dict[str, Any]], None]
"""Refuses what an endpoint's bodies must not be."""


def anything(body: dict[str, Any]) -> None:
    """Refuses nothing."""


def admitted_job(
    front: Front,
    path: str,
    member: Member,
    body: dict[str, Any],
    task: Task,
    check: Check = anything,
    *,
    wishes: Wishes,
    accept: str = "*/*",
    tokens_left: int | None = None,
) -> tuple[Job, Target]:
    """A body, resolved and admitted, at whatever hour, with as long an answer as its member may have.

    `tokens_left`: of the member's limits, as `Gate.tokens_left` says. Raises RequestError.
    """
    target = resolve(body.get("model") or default_name(task, front.profile), front.profile)
    allowance = member.allowance(front.profile.roles)
    check_model(allowance, target)
    check(body)
    width = admit(body, task, target, front.profile)
    check_width(allowance, width, body, task)
    guess = estimate(body, task, target.model, width, generates=not path.endswith("/count_tokens"))
    ration, held = rationed(body, path, guess, allowance, target.model, width, tokens_left)
    job = json_job(
        front,
        path,
        member.name,
        target,
        ration,
        held,
        width=width,
        accept=accept,
        priority=_priority(body, wishes),
        deadline_s=wishes.deadline_s,
    )
    return job, target


def _priority(body: dict[str, Any], wishes: Wishes) -> Priority:
    """A chat UI's side task lets everybody's questions go first."""
    if wishes.priority is Priority.INTERACTIVE and is_side_task(body):
        return Priority.BACKGROUND
    return wishes.priority


class Answering:
    """A dependency: the request, authenticated, read, resolved and admitted, as the response that will answer it."""

    def __init__(self, task: Task, check: Check = anything) -> None:
        self._task = task
        self._check = check

    async def __call__(
        self, request: Request, front: CurrentFront, member: AskingMember, wishes: CurrentWishes, data: RawBody
    ) -> Relay:
        """Raises RequestError."""
        with broker_errors():
            tokens_left = await front.gate.tokens_left(member)
        if len(data) <= QUICK_BYTES:
            return self._relay(request, front, member, wishes, data, tokens_left)
        return await asyncio.to_thread(self._relay, request, front, member, wishes, data, tokens_left)

    def _relay(
        self, request: Request, front: Front, member: Member, wishes: Wishes, data: bytes, tokens_left: int | None
    ) -> Relay:
        path, body = route_path(request), parse(data)
        job, target = admitted_job(
            front,
            path,
            member,
            body,
            self._task,
            self._check,
            wishes=wishes,
            accept=request.headers.get("accept", "*/*"),
            tokens_left=tokens_left,
        )
        is_stream = self._task is Task.GENERATE and body.get("stream") is True and not path.endswith("/count_tokens")
        return Relay(front, member, job, Answer(job, target.queue, dialect_of(job.path), is_stream=is_stream))


Generated = Annotated[Relay, Depends(Answering(Task.GENERATE))]
Message = Annotated[Relay, Depends(Answering(Task.GENERATE, check_message_request))]
Conversation = Annotated[Relay, Depends(Answering(Task.GENERATE, check_conversation))]
Embedded = Annotated[Relay, Depends(Answering(Task.EMBED))]


@router.post(
    "/chat/completions",
    tags=["chat"],
    summary="Create a chat completion",
    responses=_OPENAI,
    openapi_extra=json_body(ChatRequest),
)
async def create_chat_completion(answer: Generated) -> Relay:
    """The model's next message in a conversation, whole or as a stream of events that ends with `data: [DONE]`.

    A stream that breaks ends with a `data: {"error": ...}` event and without `[DONE]`.
    """
    return answer


@router.post(
    "/completions",
    tags=["chat"],
    summary="Create a completion",
    responses=_OPENAI,
    openapi_extra=json_body(CompletionRequest),
)
async def create_completion(answer: Generated) -> Relay:
    """A text, gone on with."""
    return answer


@router.post(
    "/responses",
    tags=["chat"],
    summary="Create a response",
    responses=_OPENAI,
    openapi_extra=json_body(ResponsesRequest),
)
async def create_response(answer: Generated) -> Relay:
    """OpenAI's Responses API, without what needs a memory: `previous_response_id`, `conversation` and `background`."""
    return answer


@router.post(
    "/messages",
    tags=["anthropic"],
    summary="Create a message",
    responses=_ANTHROPIC,
    openapi_extra=json_body(MessagesRequest),
)
async def create_message(answer: Message) -> Relay:
    """Anthropic's Messages API, with Anthropic's errors, but for what the engine itself refuses: that is OpenAI's."""
    return answer


@router.post(
    "/messages/count_tokens",
    tags=["anthropic"],
    summary="Count a message's tokens",
    responses=_answers(_JSON, envelope=AnthropicEnvelope),
    openapi_extra=json_body(CountTokensRequest),
)
async def count_tokens(answer: Conversation) -> Relay:
    """How long a conversation is for this model."""
    return answer


@router.post(
    "/embeddings",
    tags=["embeddings"],
    summary="Create embeddings",
    responses=_answers(_JSON),
    openapi_extra=json_body(EmbeddingsRequest),
)
async def create_embeddings(answer: Embedded) -> Relay:
    """Texts as vectors. A model that only generates refuses with 400 and names those that can."""
    return answer
