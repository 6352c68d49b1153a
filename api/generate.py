"""The endpoints that models answer. Each becomes a job for its model's queue; what comes back is the engine's own."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from api.answer import Answer
from api.asking import AskingMember
from api.body import QUICK_BYTES, RawBody, parsed
from api.choose import Asked, Check, anything, choose
from api.failures import dialect_of
from api.front import CurrentFront
from api.learn import seen
from api.relay import Relay
from api.schemas import (
    EVENTS,
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
from api.submit import route_path
from api.wishes import CurrentWishes, Detached
from familyai.catalogue import Task
from routing.messages import check_conversation, check_message_request

router = APIRouter(prefix="/v1")

HEADERS = {
    "X-FamilyAI-Job-Id": {
        "description": "The job this request became. Also with errors, once it was one.",
        "schema": {"type": "string"},
    },
    "X-FamilyAI-Model": {"description": "The model that answered.", "schema": {"type": "string"}},
    "X-FamilyAI-Queue": {"description": "The queue that serves it.", "schema": {"type": "string"}},
    "X-FamilyAI-Route": {
        "description": "Why that queue: the kind of request, or `named`, with `confidence` and `reason`; also when "
        "another would have been better.",
        "schema": {"type": "string"},
    },
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
_JSON_OR_EVENTS = _JSON | EVENTS


def _answers(content: dict[str, Any], **refused: Any) -> dict[int | str, dict[str, Any]]:
    success = {
        "description": "The engine's answer, unchanged but for the `id` of events.",
        "headers": HEADERS,
        "content": content,
    }
    return {200: success, **refusals(**refused)}


_OPENAI = _answers(_JSON_OR_EVENTS)
_ANTHROPIC = _answers(_JSON_OR_EVENTS, envelope=AnthropicEnvelope)


class Answering:
    """A dependency: the request, authenticated, read, routed and admitted, as the response that will answer it."""

    def __init__(self, task: Task, check: Check = anything) -> None:
        self._task = task
        self._check = check

    async def __call__(
        self,
        request: Request,
        front: CurrentFront,
        member: AskingMember,
        wishes: CurrentWishes,
        detached: Detached,
        data: RawBody,
    ) -> Relay:
        """Raises RequestError."""
        path, accept = route_path(request), request.headers.get("accept", "*/*")
        body = await parsed(data)
        asked = Asked(path, member, body, self._task, self._check, wishes, accept, is_large=len(data) > QUICK_BYTES)
        job, decision = await choose(front, asked)
        is_stream = self._task is Task.GENERATE and body.get("stream") is True and not path.endswith("/count_tokens")
        queue, dialect = decision.target.queue, dialect_of(job.path)
        answer = Answer(job, queue, dialect, route=decision.header, is_stream=is_stream)
        routed = await seen(front, asked, job, decision)
        return Relay(front, member, job, answer, routed, is_detached=detached)


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

    Each event has its number, counted from 1, as its `id`. A stream that breaks ends with a `data: {"error": ...}`
    event, which has none, and without `[DONE]`.
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
