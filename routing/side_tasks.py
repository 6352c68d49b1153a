"""Which requests a chat UI makes on its own: a chat's title, its tags, follow-up questions, search queries. Pure."""

from typing import Any

MARK = "### Task:"
"""How Open WebUI's built-in prompts begin, all of them."""


def is_side_task(body: dict[str, Any]) -> bool:
    """Whether nobody reads along as this is answered: not streamed, and its last message is such a prompt."""
    messages = body.get("messages")
    if body.get("stream") or not isinstance(messages, list) or not messages:
        return False
    return _text(messages[-1]).lstrip().startswith(MARK)


def _text(message: Any) -> str:
    """What a message begins with, as a text or as the first of its parts."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list) and content and isinstance(content[0], dict):
        content = content[0].get("text")
    return content if isinstance(content, str) else ""
