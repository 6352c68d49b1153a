"""The real vLLM goes on with answers that broke at any frame: what was sent is said again to the byte, the rest fits.

The engine runs in this process, as it does in a worker; a broken answer is played by giving it the past of a whole one.
Tool calls, which the model is too small for, are put into its mouth. vLLM in this process changes how all of it logs,
which other tests would not bear: so it is run by itself.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.types import ASGIApp
from transformers import AutoTokenizer

from familyai.catalogue import Model, load_profile
from familyai.limits import Limits
from tests.acceptance.asgi import CREATED_S, Answer, ask
from tests.acceptance.conftest import ROOT, share_models
from workers import at_hand
from workers.engines import vllm
from workers.engines.vllm_past import Generate, begin, going_on
from workers.prepare import model_path, prepare

pytestmark = [pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]

TOKENS = 40
CUTS = [1, 3, 17, -3, -1]
"""How many frames were sent; negative ones count from the end."""

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
QUESTION = "Tell me a story about a fox 🦊 in Köln, with emoji."
BEGINNING = "Once upon a time in Köln there was a fox 🦊 who"
MESSAGES = [{"role": "user", "content": QUESTION}]
LONG = {"model": NAME, "temperature": 0, "stream": True}
USAGE = {"stream_options": {"include_usage": True}}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
COMPLETION = {**LONG, **USAGE, "prompt": BEGINNING, "max_tokens": TOKENS, "ignore_eos": True}
CHAT = {**LONG, **USAGE, "messages": MESSAGES, "max_tokens": TOKENS}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", CHAT),
    "chat with usage in every chunk": (
        "/v1/chat/completions",
        {**CHAT, "stream_options": {"include_usage": True, "continuous_usage_stats": True}, "return_token_ids": True},
    ),
    "chat with tools": ("/v1/chat/completions", {**CHAT, "tools": [TOOL], "tool_choice": "auto"}),
    "chat with a stop string": ("/v1/chat/completions", {**CHAT, "stop": ["never said at all"]}),
    "completions": ("/v1/completions", COMPLETION),
    "completions with echo": ("/v1/completions", {**COMPLETION, "echo": True}),
    "responses": ("/v1/responses", {**LONG, "input": QUESTION, "max_output_tokens": TOKENS, "store": False}),
    "messages": ("/v1/messages", {**LONG, "messages": MESSAGES, "max_tokens": TOKENS}),
}


def the_model() -> Model:
    return load_profile(ROOT / "queues.yaml", "embedded").model("chat-fast")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("home")
    share_models(made)
    prepare(the_model(), made, print)
    return made


class Core:
    """The engine core, which says a script when it is given one."""

    def __init__(self) -> None:
        self.script: list[int] = []
        self._prompt_tokens = 0

    def going_on(self, client: Any) -> Generate:
        self._client, self._generate = client, client.generate
        client.generate = self._say
        return going_on(client)

    def _say(self, prompt: Any, sampling_params: Any, request_id: str, **options: Any) -> AsyncGenerator[Any, None]:
        if not self.script:
            return self._generate(prompt, sampling_params, request_id, **options)  # type: ignore[no-any-return]
        return self._say_script(prompt, sampling_params, request_id)

    async def _say_script(self, prompt: Any, sampling_params: Any, request_id: str) -> AsyncGenerator[Any, None]:
        job, tokens = at_hand.current.get(), len(prompt["prompt_token_ids"])
        if job and not job.past.outputs:
            self._prompt_tokens = tokens
        answer = await begin(self._client, prompt, sampling_params, request_id)
        for token in self.script[tokens - self._prompt_tokens :]:
            yield answer.repeat((token,))


@pytest.fixture(scope="module")
def core() -> Core:
    return Core()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(home: Path, core: Core) -> AsyncIterator[ASGIApp]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vllm, "going_on", core.going_on)
        for name, value in the_model().env.items():
            patch.setenv(name, value)
        async with vllm.open_engine(the_model(), Limits(), home) as engine:
            yield engine.app


@pytest.fixture(scope="module")
def tokenizer(home: Path) -> Any:
    return AutoTokenizer.from_pretrained(model_path(the_model(), home))


def text(chunks: list[dict[str, Any]]) -> str:
    """What a client puts together of a stream, in any of the dialects."""
    parts: list[str] = []
    for chunk in chunks:
        choices = chunk.get("choices", [])
        parts.extend(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices)
        if chunk.get("type") in ("response.output_text.delta", "content_block_delta"):
            delta = chunk["delta"]
            parts.append(delta if isinstance(delta, str) else delta.get("text", ""))
    return "".join(parts)


def ids(answer: Answer) -> list[int]:
    return [token for event in answer.events if event.tokens for group in event.tokens.ids for token in group]


def kinds(answer: Answer) -> list[tuple[Any, ...]]:
    """What a stream is made of, repetitions once: its roles, ends, usages and types of events."""
    marks: list[tuple[Any, ...]] = []
    for chunk in answer.chunks:
        choices = [
            (choice.get("delta", {}).get("role"), choice.get("finish_reason")) for choice in chunk.get("choices", [])
        ]
        mark = (chunk.get("type"), chunk.get("object"), *choices, bool(chunk.get("usage")))
        if mark not in marks[-1:]:
            marks.append(mark)
    return marks


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_broken_answer_is_continued(app: ASGIApp, tokenizer: Any, name: str) -> None:
    path, body = REQUESTS[name]
    whole = await ask(app, path, body)
    assert whole.messages[0]["status"] == 200, whole.messages
    assert len(ids(whole)) == TOKENS
    cuts = sorted({cut % len(whole.events) for cut in CUTS})
    answers = await asyncio.gather(*(ask(app, path, body, whole.past(cut)) for cut in cuts))
    for cut, answer in zip(cuts, answers, strict=True):
        assert answer.messages[:cut] == whole.messages[:cut], cut
        assert [event.tokens for event in answer.events[:cut]] == [event.tokens for event in whole.events[:cut]]
        check_whole(answer, whole, body, tokenizer)


def check_whole(answer: Answer, whole: Answer, body: dict[str, Any], tokenizer: Any) -> None:
    assert kinds(answer) == kinds(whole)
    assert (answer.meter.prompt, answer.meter.generated) == (whole.meter.prompt, TOKENS)
    usages = [chunk["usage"] for chunk in answer.chunks if chunk.get("usage")]
    assert usages[-1:] == [chunk["usage"] for chunk in whole.chunks if chunk.get("usage")][-1:]
    prompt = BEGINNING if body.get("echo") else ""
    assert text(answer.chunks) == prompt + tokenizer.decode(ids(answer), skip_special_tokens=True)
    times = {chunk.get("created") or chunk.get("response", {}).get("created_at") for chunk in answer.chunks}
    assert times <= {CREATED_S, None}


async def test_an_answer_that_ended_by_itself_ends_again(app: ASGIApp) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    body = {"model": NAME, "messages": question, "temperature": 0, "max_tokens": 40, "stream": True}
    whole = await ask(app, "/v1/chat/completions", body)
    assert whole.chunks[-1]["choices"][0]["finish_reason"] == "stop"
    again = await ask(app, "/v1/chat/completions", body, whole.past(len(whole.events) - 2))
    assert again.messages == whole.messages


async def test_a_stop_string_is_seen_across_the_join(app: ASGIApp) -> None:
    """Of " of France", the first word was generated before the break."""
    question = [{"role": "user", "content": "What is the capital of France?"}]
    body = {"model": NAME, "messages": question, "temperature": 0, "max_tokens": 40, "stream": True}
    whole = await ask(app, "/v1/chat/completions", {**body, "stop": [" of France"]})
    cut = next(frame for frame in range(len(whole.events)) if len(sum(whole.past(frame).outputs, ())) == 3)
    again = await ask(app, "/v1/chat/completions", {**body, "stop": [" of France"]}, whole.past(cut))
    assert text(again.chunks) == text(whole.chunks) == "The capital"
    assert again.chunks[-1]["choices"][0]["stop_reason"] == " of France"


async def test_an_answer_wanted_whole_is_one_answer(app: ASGIApp, tokenizer: Any) -> None:
    path, body = REQUESTS["chat"]
    streamed = await ask(app, path, body)
    plain = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    answer = await ask(app, path, plain, streamed.past(20))
    assert (answer.meter.prompt, answer.meter.generated) == (streamed.meter.prompt, TOKENS)
    said = json.loads(b"".join(message.get("body", b"") for message in answer.messages))
    assert said["usage"]["completion_tokens"] == TOKENS
    assert said["choices"][0]["message"]["content"] == tokenizer.decode(ids(answer), skip_special_tokens=True)


TOOL_CALL = """Let me look.
<tool_call>
{"name": "look", "arguments": {"where": "in Köln 🦊", "times": 3}}
</tool_call>"""
FUNCTION = TOOL["function"]
TOOL_REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES, "tools": [TOOL]},
    "/v1/responses": {"input": QUESTION, "tools": [{"type": "function", **FUNCTION}], "store": False},
    "/v1/messages": {
        "messages": MESSAGES,
        "tools": [{"name": "look", "input_schema": FUNCTION["parameters"]}],
        "max_tokens": 100,
    },
}


@pytest.mark.parametrize("path", TOOL_REQUESTS)
async def test_a_broken_tool_call_is_the_same_call(
    app: ASGIApp, core: Core, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """To the byte, wherever it broke: its ids, its arguments, and what was held back until a call was whole."""
    monkeypatch.setattr(core, "script", [*tokenizer.encode(TOOL_CALL), tokenizer.eos_token_id])
    body = {"model": NAME, "stream": True, **TOOL_REQUESTS[path]}
    whole = await ask(app, path, body)
    assert b'"name":"look"' in b"".join(message.get("body", b"") for message in whole.messages)
    for cut in range(1, len(whole.events)):
        assert (await ask(app, path, body, whole.past(cut))).messages == whole.messages, cut
