"""Anthropic's requests: what they must have, refused here in Anthropic's words, since vLLM refuses it in OpenAI's.

Only `messages` and `max_tokens` are looked at. Whatever else the engine does not like (a role, a content block, a
`temperature` that is no number) it says itself, in OpenAI's envelope.
"""

from typing import Any

from familyai.errors import BadRequest


def check_message_request(body: dict[str, Any]) -> None:
    """Of `POST /v1/messages`. Raises BadRequest."""
    check_conversation(body)
    longest = body.get("max_tokens")
    if type(longest) is not int or longest < 1:
        raise BadRequest("`max_tokens` must be a whole number above 0", param="max_tokens", code="invalid_value")


def check_conversation(body: dict[str, Any]) -> None:
    """Of `POST /v1/messages/count_tokens` too. Raises BadRequest."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise BadRequest("`messages` must be a list of at least one message", param="messages", code="invalid_value")
