"""How many answers one request asks for at once: the measure of how much of an engine it takes."""

import math
from typing import Any

INPUTS_PER_SLOT = 32
"""Embedding inputs that together weigh as much as one generated answer."""


def generation_width(body: dict[str, Any]) -> int:
    """n x prompts; of `n` and `best_of` the larger counts."""
    return max(count(body.get("n")), count(body.get("best_of"))) * prompts(body.get("prompt"))


def embedding_width(body: dict[str, Any]) -> int:
    return math.ceil(prompts(body.get("input")) / INPUTS_PER_SLOT)


def prompts(value: Any) -> int:
    """A list holds one prompt per text or list of tokens in it; a list of bare numbers is one prompt of tokens."""
    if not isinstance(value, list) or not value or isinstance(value[0], int | float):
        return 1
    return len(value)


def count(value: Any) -> int:
    """What an engine would read as the number, and it reads `"8"` and `8.0` as 8; anything else is its to refuse."""
    try:
        return max(1, int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return 1
