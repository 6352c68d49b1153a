"""Who has a token limit gets no more than is held back for them, whatever they write, and as the engine reads it."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from familyai.allowance import Allowance
from familyai.catalogue import Model, Task
from familyai.errors import BadRequest
from routing.estimate import Estimate, estimate
from routing.ration import rationed

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
MESSAGES, COUNT, EMBEDDINGS = "/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings"
SPEECH = "/v1/audio/speech"
PROMPTS = {CHAT: "messages", COMPLETIONS: "prompt", RESPONSES: "input", MESSAGES: "messages"}
NAMES = ("max_completion_tokens", "max_tokens", "max_output_tokens")
MODEL = Model.model_validate(
    {"model": "org/chat", "engine": "echo", "memory_gb": 1, "slots": 4, "answer_tokens": 10, "tasks": list(Task)}
)
MINUTE = Allowance(tokens_per_minute=1000)


def ration(
    asked: dict[str, Any],
    path: str = CHAT,
    *,
    input_tokens: int = 100,
    width: int = 1,
    allowance: Allowance = MINUTE,
    model: Model = MODEL,
) -> tuple[dict[str, Any], Estimate]:
    """What is let through of a request with so long a prompt, and what is held back for it."""
    prompt = "7" * input_tokens
    body = asked | {PROMPTS.get(path, "input"): [{"content": prompt}] if PROMPTS.get(path) == "messages" else prompt}
    task = {EMBEDDINGS: Task.EMBED, SPEECH: Task.SPEAK}.get(path, Task.GENERATE)
    before, before_estimate = body.copy(), estimate(body, task, model, width, generates=path != COUNT)
    let_through, held = rationed(body, path, before_estimate, allowance, model, width)
    assert body == before, "what the client sent was written over"
    assert (held.input, held.output, held.cost) == (before_estimate.input, before_estimate.output, before_estimate.cost)
    return {name: let_through[name] for name in NAMES if name in let_through}, held


@pytest.mark.parametrize(
    ("path", "asked", "let_through", "tokens"),
    [
        (CHAT, {}, {"max_tokens": 160}, 260),
        (CHAT, {"max_tokens": None}, {"max_tokens": 160}, 260),
        (CHAT, {"max_completion_tokens": None}, {"max_completion_tokens": 160}, 260),
        (CHAT, {"max_tokens": 7}, {"max_tokens": 7}, 107),
        (CHAT, {"max_tokens": "7"}, {"max_tokens": "7"}, 107),
        (CHAT, {"max_tokens": 7.0}, {"max_tokens": 7.0}, 107),
        (CHAT, {"max_tokens": 900}, {"max_tokens": 900}, 1000),
        (CHAT, {"max_tokens": 901}, {"max_tokens": 900}, 1000),
        (CHAT, {"max_tokens": "5000"}, {"max_tokens": 900}, 1000),
        (CHAT, {"max_tokens": 1e6}, {"max_tokens": 900}, 1000),
        (CHAT, {"max_tokens": "9" * 400}, {"max_tokens": 160}, 260),
        (CHAT, {"max_tokens": [7]}, {"max_tokens": 160}, 260),
        (CHAT, {"max_tokens": -1}, {"max_tokens": 160}, 260),
        (CHAT, {"max_tokens": 0}, {"max_tokens": 0}, 101),
        (CHAT, {"max_completion_tokens": 5000}, {"max_completion_tokens": 900}, 1000),
        (CHAT, {"max_completion_tokens": 5000, "max_tokens": 7}, {"max_completion_tokens": 900, "max_tokens": 7}, 1000),
        (CHAT, {"max_completion_tokens": 7, "max_tokens": 5000}, {"max_completion_tokens": 7, "max_tokens": 7}, 107),
        (CHAT, {"max_completion_tokens": 0, "max_tokens": 5000}, {"max_completion_tokens": 0, "max_tokens": 1}, 101),
        (CHAT, {"max_completion_tokens": None, "max_tokens": 7}, {"max_completion_tokens": None, "max_tokens": 7}, 107),
        (CHAT, {"max_output_tokens": 7}, {"max_output_tokens": 7, "max_tokens": 160}, 260),
        (CHAT, {"ignore_eos": True, "min_tokens": 5000}, {"max_tokens": 160}, 260),
        (COMPLETIONS, {"max_tokens": 5000}, {"max_tokens": 900}, 1000),
        (COMPLETIONS, {"max_completion_tokens": 7}, {"max_completion_tokens": 7, "max_tokens": 16}, 116),
        (RESPONSES, {}, {"max_output_tokens": 160}, 260),
        (RESPONSES, {"max_output_tokens": 5000}, {"max_output_tokens": 900}, 1000),
        (RESPONSES, {"max_tokens": 7}, {"max_tokens": 7, "max_output_tokens": 160}, 260),
        (MESSAGES, {"max_tokens": 5000}, {"max_tokens": 900}, 1000),
        (MESSAGES, {"max_tokens": 7}, {"max_tokens": 7}, 107),
    ],
)
def test_an_answer_is_no_longer_than_what_is_held_back(
    path: str, asked: dict[str, Any], let_through: dict[str, Any], tokens: int
) -> None:
    found, held = ration(asked, path)
    assert (found, held.tokens) == (let_through, tokens)


@pytest.mark.parametrize("asked", [{}, {"max_tokens": None}])
def test_a_completion_without_a_length_is_as_short_as_the_engine_makes_it(asked: dict[str, Any]) -> None:
    assert ration(asked, COMPLETIONS)[0] == {"max_tokens": 16}


def test_an_unlimited_answer_is_never_asked_to_be_longer_than_the_model_can() -> None:
    """vLLM refuses a maximum above the model's context."""
    model = MODEL.model_copy(update={"context_tokens": 128})
    assert ration({}, model=model)[0] == {"max_tokens": 128}


@pytest.mark.parametrize("width", [2, 3, 8])
def test_answers_share_what_the_prompt_leaves(width: int) -> None:
    found, held = ration({"max_tokens": 5000}, width=width)
    assert found == {"max_tokens": 900 // width}
    assert held.tokens == 100 + width * (900 // width)


@pytest.mark.parametrize(
    ("limits", "most", "span"),
    [
        ({"tokens_per_minute": 300}, 200, "minute"),
        ({"tokens_per_day": 300}, 200, "day"),
        ({"tokens_per_minute": 300, "tokens_per_day": 400}, 200, "minute"),
        ({"tokens_per_minute": 400, "tokens_per_day": 300}, 200, "day"),
    ],
)
def test_the_smaller_limit_counts(limits: dict[str, Any], most: int, span: str) -> None:
    allowance = Allowance(**limits)
    assert ration({"max_tokens": 5000}, allowance=allowance)[0] == {"max_tokens": most}
    assert f"in one {span}" in refused(allowance=allowance, input_tokens=300).message


@pytest.mark.parametrize("path", [*PROMPTS, COUNT, EMBEDDINGS])
def test_without_a_token_limit_nothing_is_touched(path: str) -> None:
    allowance = Allowance(requests_per_minute=1, running=1)
    for asked in ({}, {"max_tokens": 10**9}, {"max_tokens": None}):
        found, held = ration(asked, path, allowance=allowance, input_tokens=10**4)
        assert found == asked
        assert held.tokens == held.input + held.output


def refused(path: str = CHAT, **kwargs: Any) -> BadRequest:
    with pytest.raises(BadRequest) as raised:
        ration({}, path, **kwargs)
    return raised.value


@pytest.mark.parametrize(
    ("path", "param"), [*PROMPTS.items(), (COUNT, "messages"), (EMBEDDINGS, "input")], ids=lambda value: value
)
def test_a_prompt_longer_than_the_limit_is_told_so(path: str, param: str) -> None:
    error = refused(path, input_tokens=1001)
    assert (error.status, error.code, error.param) == (400, "too_long_for_limit", param)
    assert error.message == "Your question is longer than all you may use in one minute. Make it shorter."


@pytest.mark.parametrize(("input_tokens", "width", "fits"), [(999, 1, True), (1000, 1, False), (993, 8, False)])
def test_a_prompt_must_leave_room_for_its_answers(input_tokens: int, width: int, fits: bool) -> None:
    if fits:
        assert ration({}, input_tokens=input_tokens, width=width)[0] == {"max_tokens": 1}
    else:
        refused(input_tokens=input_tokens, width=width)


@pytest.mark.parametrize("path", [COUNT, EMBEDDINGS])
def test_what_answers_nothing_takes_its_input(path: str) -> None:
    assert (ration({}, path, input_tokens=1000)[0], ration({}, path, input_tokens=1000)[1].tokens) == ({}, 1000)


def test_speech_takes_no_tokens() -> None:
    assert ration({}, SPEECH, input_tokens=10**4)[1].tokens == 0


LENGTHS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**4)
    | st.integers(0, 10**25)
    | st.floats(allow_nan=False)
    | st.sampled_from(["7", "7.0", " 7 ", "+7", "1e3", "5_000", "٩٩٩٩", "9" * 30, "9" * 400, "-1", "", "x", [9], {}])
)
INTEGER = TypeAdapter(int)


def as_the_engine_reads(body: dict[str, Any], path: str) -> float:
    """The longest answer, 0 for a request that is refused: as vLLM's request models do."""
    names = {CHAT: NAMES[:2], RESPONSES: NAMES[2:]}.get(path, NAMES[1:2])
    try:
        read = [INTEGER.validate_python(body[name]) for name in names if body.get(name) is not None]
    except ValidationError:
        return 0
    unlimited = {COMPLETIONS: 16, MESSAGES: 0}.get(path, math.inf)
    return max(0, read[0]) if read else unlimited


@given(
    st.sampled_from(list(PROMPTS)),
    st.dictionaries(st.sampled_from(NAMES), LENGTHS),
    st.integers(0, 2000),
    st.integers(1, 8),
    st.integers(1, 2000),
)
def test_whatever_is_asked_the_longest_answers_are_held_back_and_fit(
    path: str, asked: dict[str, Any], input_tokens: int, width: int, limit: int
) -> None:
    allowance, fits = Allowance(tokens_per_minute=limit), limit - input_tokens >= width
    try:
        found, held = ration(asked, path, input_tokens=input_tokens, width=width, allowance=allowance)
    except BadRequest:
        assert not fits
        return
    assert fits
    assert held.input + width * as_the_engine_reads(found, path) <= held.tokens <= limit


@given(st.sampled_from(list(PROMPTS)), st.integers(1, 900), st.integers(1, 900))
def test_what_fits_is_passed_on_as_it_came(path: str, length: int, other: int) -> None:
    asked = {"max_output_tokens": length} if path == RESPONSES else {"max_tokens": length}
    assert ration(asked, path)[0] == asked
