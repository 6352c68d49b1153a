from typing import Any

import pytest

from familyai.errors import BadRequest
from routing.messages import check_conversation, check_message_request

HI = [{"role": "user", "content": "Hi"}]


def test_what_anthropics_clients_send_passes() -> None:
    check_message_request({"messages": HI, "max_tokens": 1})
    check_conversation({"messages": HI})


@pytest.mark.parametrize("messages", [None, [], "Hi", {}, ["Hi"], [*HI, None]])
def test_there_must_be_a_conversation(messages: Any) -> None:
    for check in (check_message_request, check_conversation):
        with pytest.raises(BadRequest) as caught:
            check({"messages": messages, "max_tokens": 1})
        assert caught.value.param == "messages"


@pytest.mark.parametrize("max_tokens", [None, 0, -1, "many", 1.5, True, [1]])
def test_an_answer_must_have_a_length(max_tokens: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        check_message_request({"messages": HI, "max_tokens": max_tokens})

    assert caught.value.param == "max_tokens"
