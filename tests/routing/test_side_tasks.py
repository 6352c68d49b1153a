"""A chat UI's own requests go behind the chat they belong to; what a person asks never does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.conversation import read
from routing.side_tasks import is_side_task

TITLE = "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history."


def is_uis_own(body: dict[str, Any]) -> bool:
    return is_side_task(body, read(body))


def asking(content: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], **more}


@pytest.mark.parametrize(
    "body",
    [
        asking(TITLE),
        asking(TITLE, stream=False),
        asking(TITLE, stream=None),
        asking("\n" + TITLE),
        asking([{"type": "text", "text": TITLE}]),
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TITLE}]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": TITLE}]}]},
    ],
)
def test_open_webuis_own_prompts(body: dict[str, Any]) -> None:
    assert is_uis_own(body)


@pytest.mark.parametrize(
    "body",
    [
        asking(TITLE, stream=True),
        asking("What does '### Task:' mean?"),
        asking("### task: x"),
        asking("## Task: x"),
        {"messages": [{"content": TITLE}, {"content": "Hi"}]},
        {"messages": []},
        {"messages": TITLE},
        {"messages": [TITLE]},
        {"prompt": TITLE},
        {"input": TITLE},
        {"input": [TITLE]},
        {"input": [1, 2]},
        {},
        asking(None),
        asking([]),
        asking([{"type": "text", "text": "Look:"}, {"type": "text", "text": "### Task:"}]),
    ],
)
def test_anything_else_is_somebodys(body: dict[str, Any]) -> None:
    assert not is_uis_own(body)


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_any_body_can_be_asked_about(value: object) -> None:
    assert not is_uis_own({"messages": value})
    assert not is_uis_own({"messages": [{"content": value}]})
