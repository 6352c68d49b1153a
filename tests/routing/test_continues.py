from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.catalogue import Engine
from routing.continues import continues

CHAT = "/v1/chat/completions"


def asked(path: str = CHAT, width: int = 1, engine: Engine = Engine.VLLM, **body: Any) -> bool:
    return continues(path, {"stream": True, **body}, width, engine)


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("engine", [Engine.VLLM, Engine.ECHO])
def test_an_ordinary_stream_goes_on(path: str, engine: Engine) -> None:
    assert asked(path, engine=engine)


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "function"}], "tool_choice": "auto"},
        {"tool_choice": {"type": "auto"}},
        {"response_format": {"type": "text"}},
        {"text": {"format": {"type": "text"}}},
        {"presence_penalty": 0, "frequency_penalty": 0.0, "repetition_penalty": 1.0},
        {"logprobs": False, "top_logprobs": None},
        {"temperature": 1.5, "max_tokens": 7, "repetition_penalty": 1.1, "bad_words": []},
        {"tools": [{"name": "f", "input_schema": {}}]},
    ],
)
def test_what_is_no_hindrance(body: dict[str, Any]) -> None:
    assert asked(**body)


@pytest.mark.parametrize(
    "body",
    [
        {"stream": False},
        {"width": 2},
        {"path": "/v1/audio/speech"},
        {"engine": Engine.PIPER},
        {"response_format": {"type": "json_object"}},
        {"text": {"format": {"type": "json_schema"}}},
        {"structured_outputs": {"choice": ["a"]}},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tool_choice": {"type": "any"}},
        {"presence_penalty": 0.1},
        {"seed": 0},
        {"bad_words": ["no"]},
        {"parallel_tool_calls": False},
        {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]},
        {"tools": [{"type": "function", "name": "f", "strict": True}]},
        {"tools": [{"type": "web_search"}]},
        {"tools": ["f"]},
        {"tools": "f"},
        {"logprobs": True},
        {"logprobs": 0},
    ],
)
def test_what_an_engine_would_have_to_remember(body: dict[str, Any]) -> None:
    assert not asked(**body)


@given(
    st.dictionaries(
        st.sampled_from(["text", "tool_choice", "logprobs", "response_format", "stream"]), st.from_type(object)
    )
)
def test_any_body_is_told(body: dict[str, Any]) -> None:
    assert continues(CHAT, body, 1, Engine.VLLM) in (True, False)
