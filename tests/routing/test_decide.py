"""The whole decision: a name is a name, a route decides, and every decision says why in one line."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.allowance import Allowance
from familyai.catalogue import Prefer, Task
from familyai.errors import Forbidden, NotFound, RequestError
from familyai.kinds import CHAT, Kind
from routing.classify import Verdict, as_wished
from routing.decide import NAMED, Decision, decide
from routing.place import HOP, Asked, Moment, place
from routing.wished import Thought
from tests.routing.household import ANYTHING, QUEUES, household

PROFILE = household()
CODE_REQUEST = "Fix this Python function:\n```python\ndef f(x):\n    return x / 0\n```\nZeroDivisionError"


def decided(
    model: Any, text: str = CODE_REQUEST, allowance: Allowance = ANYTHING, *, reasoning_effort: Any = None, **more: Any
) -> Decision:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "reasoning_effort": reasoning_effort}
    return decide(body, PROFILE, allowance, **more)


@pytest.mark.parametrize(
    ("name", "queue", "reason"),
    [
        ("chat-fast", "chat-fast", "chat-fast was asked for"),
        ("org/chat-fast", "chat-fast", "chat-fast was asked for"),
        ("small", "chat-lightweight", "this name means chat-lightweight"),
    ],
)
def test_a_model_that_is_named_is_taken_at_its_word(name: str, queue: str, reason: str) -> None:
    for moment in (Moment(), Moment(alive=frozenset(), late=frozenset(QUEUES), last="code-traditional")):
        decision = decided(name, moment=moment, prefer=Prefer.QUALITY)
        assert (decision.target.queue, decision.kind, decision.reason) == (queue, NAMED, reason)
        assert decision.fallbacks == ()


@pytest.mark.parametrize("name", ["auto", "gpt-4o", "auto:code"])
def test_a_route_and_its_aliases_decide(name: str) -> None:
    decision = decided(name)
    assert (decision.target.queue, decision.kind) == ("code-traditional", "code-traditional")
    assert decision.fallbacks == ("code-agentic", "chat-fast")
    assert decision.signals


def test_a_name_that_is_none() -> None:
    with pytest.raises(NotFound):
        decided("gpt-99")


@pytest.mark.parametrize("name", ["chat-fast", "auto"])
def test_a_model_that_is_not_theirs(name: str) -> None:
    with pytest.raises(Forbidden):
        decided(name, allowance=Allowance(models=("ears",)))


def test_a_route_means_whatever_can_do_a_task_that_tells_nothing_apart() -> None:
    assert decided("auto", task=Task.TRANSCRIBE).target.queue == "ears"


def test_a_task_that_no_model_can_do_is_refused_by_some_model() -> None:
    assert Task.EMBED not in decided("auto", task=Task.EMBED).target.model.tasks


@pytest.mark.parametrize(
    ("words", "tools", "fits"), [(980, 0, True), (1_010, 0, False), (500, 0, True), (500, 40, False)]
)
def test_a_context_is_as_long_as_it_is_however_few_bytes_are_counted_exactly(
    words: int, tools: int, fits: bool
) -> None:
    """`words` of a token each, five bytes long, and tools of some 14 tokens each, for contexts of 1,000."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "Thanks! " + "tree " * words}]}
    offered = [{"type": "function", "function": {"name": f"set_timer_{number}"}} for number in range(tools)]
    decision = decide(body | {"tools": offered}, PROFILE, ANYTHING)

    assert ("too long" not in decision.reason) is fits


def test_what_stood_against_the_best_is_in_the_reason() -> None:
    decision = decided("auto", moment=Moment(alive=frozenset(QUEUES) - {"code-traditional"}))
    assert decision.target.queue == "code-agentic"
    assert decision.kind == "code-traditional"
    assert decision.reason.endswith("; code-traditional has no worker, so code-agentic answers")


@pytest.mark.parametrize(
    ("wish", "last", "queue"),
    [
        ({}, "chat-reasoning", "chat-reasoning"),
        ({"reasoning_effort": "low"}, "chat-reasoning", "chat-lightweight"),
        ({"reasoning_effort": "low"}, "chat-fast", "chat-fast"),
        ({"prefer": Prefer.SPEED}, "chat-reasoning", "chat-lightweight"),
        ({"prefer": Prefer.SPEED}, "chat-fast", "chat-lightweight"),
        ({"prefer": Prefer.QUALITY}, "chat-fast", "chat-reasoning"),
    ],
)
def test_a_conversation_stays_only_with_a_model_that_was_not_wished_away(
    wish: dict[str, Any], last: str, queue: str
) -> None:
    """A quick question, for which the lightest model would do."""
    assert decided("auto", "Hello!", moment=Moment(last=last), **wish).target.queue == queue


def test_whoever_wishes_for_the_best_model_gets_it_however_unsure_the_router_is() -> None:
    unsure = Verdict(Kind.CHAT_REASONING, HOP - 0.1, (), "", {Kind.CHAT_REASONING: HOP - 0.1, Kind.CHAT_FAST: 0.5})
    judged = as_wished(unsure, Thought.MOST, "quality is preferred", tuple(CHAT))
    asked = Asked(judged, 9, PROFILE, ANYTHING, Moment(last="chat-fast"))
    assert (place(asked).queue, judged.reason) == ("chat-reasoning", "quality is preferred")


def test_the_header_is_a_structured_field_in_ascii() -> None:
    header = decided("auto").header
    assert re.fullmatch(r'code-traditional;confidence=[01]\.\d\d;reason="[^"]+"', header)
    assert header.isascii()


def test_the_same_request_gets_the_same_decision() -> None:
    assert decided("auto") == decided("auto")


@given(
    st.dictionaries(
        st.sampled_from(("messages", "input", "prompt", "system", "tools", "reasoning_effort", "stream", "thinking")),
        st.recursive(
            st.none() | st.booleans() | st.text(max_size=9),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(("role", "content", "type", "text")), inner, max_size=3)
            ),
            max_leaves=9,
        ),
    )
)
def test_any_body_is_decided_or_refused(body: dict[str, Any]) -> None:
    try:
        decision = decide({"model": "auto"} | body, PROFILE, ANYTHING)
    except RequestError:
        return
    assert decision.target.queue in QUEUES
    assert 0 <= decision.confidence <= 1
    assert "\n" not in decision.reason
