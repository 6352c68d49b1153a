from typing import Any

import pytest

from familyai.catalogue import Profile, Task
from familyai.errors import BadRequest
from routing.admit import admit, passed_on
from routing.resolve import resolve

PROFILE = Profile.model_validate(
    {
        "memory_budget_gb": 4,
        "limits": {"width": 4},
        "queues": {
            "chat": {"model": "org/chat", "engine": "echo", "memory_gb": 1, "slots": 4},
            "vectors": {"model": "org/vectors", "engine": "echo", "memory_gb": 1, "slots": 4, "tasks": ["embed"]},
            "asr": {"model": "org/ears", "engine": "echo", "memory_gb": 1, "slots": 1, "tasks": ["transcribe"]},
        },
    }
)


def enter(body: dict[str, Any], task: Task = Task.GENERATE, queue: str = "chat") -> int:
    return admit(body, task, resolve(queue, PROFILE), PROFILE)


@pytest.mark.parametrize(
    ("body", "width"),
    [
        ({}, 1),
        ({"n": 4}, 4),
        ({"n": 2, "prompt": ["a", "b"]}, 4),
        ({"use_beam_search": False, "priority": 0, "background": False}, 1),
        ({"previous_response_id": None, "conversation": None, "store": True}, 1),
    ],
)
def test_what_enters_has_a_width(body: dict[str, Any], width: int) -> None:
    assert enter(body) == width


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"n": 5}, "n", "too_wide"),
        ({"n": "5"}, "n", "too_wide"),
        ({"best_of": 5.0}, "best_of", "too_wide"),
        ({"prompt": ["a"] * 5}, "prompt", "too_wide"),
        ({"n": 3, "prompt": ["a", "b"]}, "prompt", "too_wide"),
        ({"use_beam_search": True}, "use_beam_search", "unsupported_parameter"),
        ({"use_beam_search": "true"}, "use_beam_search", "unsupported_parameter"),
        ({"priority": -1}, "priority", "unsupported_parameter"),
        ({"background": True}, "background", "unsupported_parameter"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
        ({"conversation": {"id": "conv_1"}}, "conversation", "unsupported_parameter"),
        ({"guided_regex": "x" * 1001}, "guided_regex", "too_complex"),
        (
            {"messages": [{"content": [{"image_url": "http://x"}]}]},
            "messages[0].content[0].image_url",
            "url_not_allowed",
        ),
    ],
)
def test_what_is_refused_names_its_parameter(body: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        enter(body)

    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_refused_parameter_that_asks_for_nothing_stays_here() -> None:
    asks_nothing = {"background": None, "previous_response_id": "", "priority": 0, "use_beam_search": False}

    assert passed_on({**asks_nothing, "request_id": "mine", "n": 0, "user": None}) == {"n": 0, "user": None}


def test_embedding_inputs_have_a_limit_too() -> None:
    assert enter({"input": ["a"] * 128}, Task.EMBED, "vectors") == 4
    with pytest.raises(BadRequest) as caught:
        enter({"input": ["a"] * 129}, Task.EMBED, "vectors")

    assert caught.value.param == "input"


def test_a_model_is_asked_only_for_what_it_can_and_the_refusal_names_those_that_can() -> None:
    with pytest.raises(BadRequest, match="'chat' cannot embed; these can: vectors") as caught:
        enter({}, Task.EMBED)
    assert (caught.value.param, caught.value.code) == ("model", "unsupported_task")

    with pytest.raises(BadRequest, match="these can: chat"):
        enter({}, Task.GENERATE, "asr")
    with pytest.raises(BadRequest, match="no model of this household can"):
        enter({}, Task.SPEAK)
