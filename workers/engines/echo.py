"""The stand-in engine: OpenAI's endpoints with deterministic text, for tests, load and faults.

It answers with the words of the last message, one word per token, at most `max_tokens`; with `ignore_eos`, which is
vLLM's word for it, over and over until then.
A request may carry an `echo` object to shape the answer:

    tokens_per_s   pace of the words; 0 or absent: as fast as they are read
    delay_s        wait before the first byte
    fail           "before": raise before the first byte; "quoting": the same, and the error quotes the prompt;
                   "after:N": raise after N words; "status:N": answer with it
    die            true: the engine declares itself dead after the answer's first word, unless it goes on with one
"""

import asyncio
import hashlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from familyai.catalogue import Model
from familyai.limits import Limits
from workers.at_hand import AtHand, current
from workers.engines import Engine
from workers.meter import current_meter

EMBEDDING_DIMENSIONS = 8


class _Loose(BaseModel):
    model_config = ConfigDict(extra="allow")


class Behaviour(_Loose):
    """The request's `echo` object."""

    tokens_per_s: float = Field(0, ge=0)
    delay_s: float = Field(0, ge=0)
    fail: str = Field("", pattern=r"^(before|quoting|after:\d+|status:\d{3})?$")
    die: bool = False


class _Generation(_Loose):
    model: str
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    n: int = Field(1, ge=1)
    ignore_eos: bool = False
    stream: bool = False
    echo: Behaviour = Behaviour()


class _Message(_Loose):
    role: str
    content: str | list[dict[str, Any]] | None = None


class ChatRequest(_Generation):
    messages: list[_Message] = Field(min_length=1)

    @property
    def prompt_text(self) -> str:
        return _text_of(self.messages[-1].content)


class CompletionRequest(_Generation):
    prompt: str

    @property
    def prompt_text(self) -> str:
        return self.prompt


class EmbeddingRequest(_Loose):
    model: str
    input: str | list[str]


@dataclass
class _Dialect:
    """What differs between chat and text completions."""

    kind: Literal["chat.completion", "text_completion"]
    prefix: str

    def whole(self, index: int, text: str, reason: str) -> dict[str, Any]:
        if self.kind == "text_completion":
            return {"index": index, "text": text, "finish_reason": reason, "logprobs": None}
        return {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": reason}

    def part(self, index: int, text: str, reason: str | None) -> dict[str, Any]:
        if self.kind == "text_completion":
            return {"index": index, "text": text, "finish_reason": reason, "logprobs": None}
        delta = {"content": text} if reason is None else {}
        return {"index": index, "delta": delta, "finish_reason": reason}


CHAT = _Dialect("chat.completion", "chatcmpl")
TEXT = _Dialect("text_completion", "cmpl")


class EchoFailure(Exception):
    """Raised on request."""


class EchoEngine:
    """The ASGI application and its health. Served alone: `uvicorn --factory workers.engines.echo:make_app`."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.alive = True
        # a bare router: Starlette would answer a failure itself before it lets the worker know
        self.app = Router(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/completions", self._complete, methods=["POST"]),
                Route("/v1/embeddings", self._embed, methods=["POST"]),
            ],
            default=_unknown_path,
        )

    async def _chat(self, request: Request) -> Response:
        return await self._generate(CHAT, ChatRequest, request)

    async def _complete(self, request: Request) -> Response:
        return await self._generate(TEXT, CompletionRequest, request)

    async def _generate(
        self, dialect: _Dialect, kind: type[ChatRequest] | type[CompletionRequest], request: Request
    ) -> Response:
        try:
            asked = kind.model_validate_json(await request.body())
        except ValidationError as error:
            return _invalid(error)
        await asyncio.sleep(asked.echo.delay_s)
        if asked.echo.fail == "before":
            raise EchoFailure("failing before the first byte, as asked")
        if asked.echo.fail == "quoting":
            raise EchoFailure(f"cannot make sense of {asked.prompt_text!r}")
        if asked.echo.fail.startswith("status:"):
            return _refusal(int(asked.echo.fail.removeprefix("status:")), "refusing, as asked", None)
        _report_prompt(asked.prompt_text)
        answer = _Answer(self, dialect, asked, request.headers.get("x-request-id", "0"))
        if asked.stream:
            return StreamingResponse(answer.events(), media_type="text/event-stream")
        return JSONResponse(await answer.whole(request))

    async def _embed(self, request: Request) -> Response:
        try:
            asked = EmbeddingRequest.model_validate_json(await request.body())
        except ValidationError as error:
            return _invalid(error)
        inputs = [asked.input] if isinstance(asked.input, str) else asked.input
        data = [{"object": "embedding", "index": i, "embedding": _embedding(text)} for i, text in enumerate(inputs)]
        used = sum(len(text.split()) for text in inputs)
        _report_prompt(" ".join(inputs))
        usage = {"prompt_tokens": used, "total_tokens": used}
        return JSONResponse({"object": "list", "data": data, "model": self._model, "usage": usage})


class _Answer:
    """One answer on its way: paced words, counted, failing where asked to."""

    def __init__(
        self, engine: EchoEngine, dialect: _Dialect, asked: ChatRequest | CompletionRequest, request_id: str
    ) -> None:
        self._engine = engine
        self._dialect = dialect
        self._asked = asked
        self._id = f"{dialect.prefix}-{request_id}"
        at_hand = current.get() or AtHand(int(time.time()))
        self._created = at_hand.created_s
        self._said = len(at_hand.past.outputs)
        limit = asked.max_completion_tokens or asked.max_tokens
        once = list(expected_words(asked.prompt_text, None))
        self._words = list(expected_words(asked.prompt_text, limit)) if asked.ignore_eos else once[:limit]
        self._reason = "length" if limit == len(self._words) != len(once) else "stop"

    async def events(self) -> AsyncIterator[bytes]:
        chunk = f"{self._dialect.kind}.chunk" if self._dialect is CHAT else self._dialect.kind
        async for word in self._paced():
            for index in range(self._asked.n):
                yield _event(self._body(chunk, [self._dialect.part(index, word, None)]))
        for index in range(self._asked.n):
            yield _event(self._body(chunk, [self._dialect.part(index, "", self._reason)]))
        yield b"data: [DONE]\n\n"

    async def whole(self, request: Request) -> dict[str, Any]:
        words = []
        async for word in self._paced():
            words.append(word)
            if await request.is_disconnected():
                break
        choices = [self._dialect.whole(index, "".join(words), self._reason) for index in range(self._asked.n)]
        prompt, generated = len(self._asked.prompt_text.split()), len(words) * self._asked.n
        usage = {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}
        return {**self._body(self._dialect.kind, choices), "usage": usage}

    async def _paced(self) -> AsyncIterator[str]:
        pace = self._asked.echo.tokens_per_s
        fail_at = int(self._asked.echo.fail.removeprefix("after:") or -1)
        begun = asyncio.get_running_loop().time()
        for count, word in enumerate(self._words):
            if count == fail_at:
                raise EchoFailure(f"failing after {count} words, as asked")
            if pace and count >= self._said:
                await asyncio.sleep(begun + (count - self._said) / pace - asyncio.get_running_loop().time())
            _report_word(count, self._asked.n)
            yield word
            self._engine.alive = self._engine.alive and (not self._asked.echo.die or self._said > 0)

    def _body(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._asked.model,
            "choices": choices,
        }


@asynccontextmanager
async def open_engine(model: Model, limits: Limits, home: Path) -> AsyncIterator[Engine]:
    """Ready at once; holds nothing."""
    engine = EchoEngine(model.model)
    yield Engine(engine.app, healthy=lambda: engine.alive)


def make_app() -> Router:
    """The engine without queue or worker: what the benchmark compares against."""
    return EchoEngine("familyai/echo").app


def expected_words(prompt: str, max_tokens: int | None) -> Iterator[str]:
    """The whole answer with `ignore_eos`, word by word; joined it is the text a client must receive."""
    words = prompt.split() or ["(nothing)"]
    return (word + " " for word in itertools.islice(itertools.cycle(words), max_tokens or len(words)))


def _text_of(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content)
    return content or ""


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def _invalid(error: ValidationError) -> Response:
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"])
    return _refusal(400, f"{param}: {first['msg']}", param)


async def _unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    await _refusal(404, "the echo engine does not answer this", None)(scope, receive, send)


def _refusal(status: int, message: str, param: str | None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return JSONResponse({"error": error}, status_code=status)


def _report_prompt(prompt: str) -> None:
    meter = current_meter.get()
    if meter:
        meter.saw_prompt(len(prompt.split()))


def _report_word(count: int, choices: int) -> None:
    meter = current_meter.get()
    for index in range(choices if meter else 0):
        meter.saw_tokens(index, [count])  # type: ignore[union-attr]


def _embedding(text: str) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    return [byte / 127.5 - 1 for byte in digest[:EMBEDDING_DIMENSIONS]]
