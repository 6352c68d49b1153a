"""How much thought a request asks for, in words that programs use: `reasoning_effort` and its kin. Pure."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from familyai.catalogue import Prefer


class Thought(Enum):
    """Of an answer in a chat."""

    MOST = "most"
    """The best model for hard questions."""
    LITTLE = "little"
    """Not that one."""
    LEAST = "least"
    """A lighter one than it would be."""


@dataclass(frozen=True)
class Wished:
    """`said`: how, for the reason that is given."""

    thought: Thought | None = None
    said: str = ""


NOTHING = Wished()
_EFFORTS = {
    "max": Thought.MOST,
    "xhigh": Thought.MOST,
    "high": Thought.MOST,
    "low": Thought.LITTLE,
    "minimal": Thought.LITTLE,
    "none": Thought.LITTLE,
}
_PREFERENCES = {Prefer.QUALITY: Thought.MOST, Prefer.SPEED: Thought.LEAST}


def wished(body: dict[str, Any], prefer: Prefer | None, usually: Prefer | None = None) -> Wished:
    """`prefer`: the header's word, which counts before the body's, and that before what a route usually prefers."""
    if prefer is not None:
        return _preferred(prefer)
    effort = _effort(body)
    if (thought := _EFFORTS.get(effort)) is not None:
        return Wished(thought, f"reasoning effort is {effort}")
    if _thinks(body):
        return Wished(Thought.MOST, "thinking is switched on")
    return _preferred(usually) if usually is not None else NOTHING


def _preferred(prefer: Prefer) -> Wished:
    return Wished(_PREFERENCES[prefer], f"{prefer} is preferred")


def _effort(body: dict[str, Any]) -> str:
    """As the chat and the Responses API say it, and vLLM's Messages API."""
    reasoning, config = body.get("reasoning"), body.get("output_config")
    nested = [value.get("effort") for value in (reasoning, config) if isinstance(value, dict)]
    said = next((value for value in (body.get("reasoning_effort"), *nested) if isinstance(value, str)), "")
    return said.lower()


def _thinks(body: dict[str, Any]) -> bool:
    """Anthropic's `thinking`, and what templates of Qwen's models read."""
    thinking, template = body.get("thinking"), body.get("chat_template_kwargs")
    by_type = isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")
    return by_type or (isinstance(template, dict) and template.get("enable_thinking") is True)
