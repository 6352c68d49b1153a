"""What a request can be: the kinds that `model: "auto"` tells apart."""

from enum import StrEnum


class Kind(StrEnum):
    """Each is served by the queues that the catalogue lists for it."""

    CODE_TRADITIONAL = "code-traditional"
    CODE_AGENTIC = "code-agentic"
    CHAT_LIGHTWEIGHT = "chat-lightweight"
    CHAT_FAST = "chat-fast"
    CHAT_REASONING = "chat-reasoning"
    VISION = "vision"
    SIDE_TASK = "side-task"


CODE = (Kind.CODE_TRADITIONAL, Kind.CODE_AGENTIC)
CHAT = (Kind.CHAT_LIGHTWEIGHT, Kind.CHAT_FAST, Kind.CHAT_REASONING)
"""Both lightest first."""
