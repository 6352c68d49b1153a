"""What a request wishes by name, in every way in which clients say it."""

from typing import Any

import pytest

from familyai.catalogue import Prefer
from routing.wished import NOTHING, Thought, wished


@pytest.mark.parametrize(
    ("body", "thought"),
    [
        ({"reasoning_effort": "high"}, Thought.MOST),
        ({"reasoning_effort": "HIGH"}, Thought.MOST),
        ({"reasoning": {"effort": "xhigh"}}, Thought.MOST),
        ({"output_config": {"effort": "max"}}, Thought.MOST),
        ({"thinking": {"type": "enabled", "budget_tokens": 1000}}, Thought.MOST),
        ({"chat_template_kwargs": {"enable_thinking": True}}, Thought.MOST),
        ({"reasoning_effort": "low"}, Thought.LITTLE),
        ({"reasoning_effort": "minimal"}, Thought.LITTLE),
        ({"reasoning": {"effort": "none"}}, Thought.LITTLE),
    ],
)
def test_wishes_of_the_body(body: dict[str, Any], thought: Thought) -> None:
    wish = wished(body, None)
    assert wish.thought is thought
    assert wish.said


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reasoning_effort": "medium"},
        {"reasoning_effort": None},
        {"reasoning_effort": 3},
        {"reasoning": "high"},
        {"reasoning": {"effort": ["high"]}},
        {"thinking": {"type": "disabled"}},
        {"thinking": True},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ],
)
def test_no_wish(body: dict[str, Any]) -> None:
    assert wished(body, None) == NOTHING


def test_the_header_counts_before_the_body_and_that_before_the_routes_habit() -> None:
    high = {"reasoning_effort": "high"}
    assert wished(high, Prefer.SPEED).thought is Thought.LEAST
    assert wished(high, None, Prefer.SPEED).thought is Thought.MOST
    assert wished({}, None, Prefer.SPEED).thought is Thought.LEAST
    assert wished({"reasoning_effort": "low"}, Prefer.QUALITY).thought is Thought.MOST
