"""How long an answer a member with a token limit may get: no longer than what is held back for it. Pure.

A sliding window forgets in two of its lengths, however far over its limit it stood. Answers that take more than was
held back for them would so be paid for with two lengths of waiting at most, and the limit would be none. Therefore
only what a prompt really was, beyond the guess, is ever owed.
"""

from dataclasses import dataclass, replace
from typing import Any

from familyai.allowance import Allowance
from familyai.catalogue import Model
from familyai.errors import BadRequest
from routing.estimate import Estimate, whole

TIMES_USUAL = 16
"""An answer of which no length was asked may take so many times what is usual for its model."""
SHORTEST = 64
"""An answer is not cut shorter than this because little is left: then it is not the time to ask."""


@dataclass(frozen=True)
class _Endpoint:
    """What it calls its prompt and the length of an answer, and how long one is that nobody limits, if it says.

    Of several names the engine reads the first that is not null.
    """

    prompt: str
    longest: tuple[str, ...] = ()
    unasked: int | None = None


_ENDPOINTS = {
    "/v1/chat/completions": _Endpoint("messages", ("max_completion_tokens", "max_tokens")),
    "/v1/completions": _Endpoint("prompt", ("max_tokens",), unasked=16),  # OpenAI's number, and the engine's
    "/v1/responses": _Endpoint("input", ("max_output_tokens",)),
    "/v1/messages": _Endpoint("messages", ("max_tokens",)),
    "/v1/messages/count_tokens": _Endpoint("messages"),
    "/v1/embeddings": _Endpoint("input"),
    "/v1/audio/speech": _Endpoint("input"),
}


def rationed(
    body: dict[str, Any],
    path: str,
    estimate: Estimate,
    allowance: Allowance,
    model: Model,
    width: int,
    left: int | None = None,
) -> tuple[dict[str, Any], Estimate]:
    """The body with the longest answer it may get, and the estimate with the tokens to hold back for that; its cost
    stays that of the usual length. `left`: of the member's limits now, if that is known: an answer ends where they do.

    Raises BadRequest for a prompt that leaves no room under the member's limit.
    """
    limit, span = _tightest(allowance)
    if limit is None:
        return body, estimate
    endpoint = _ENDPOINTS[path]
    if (estimate.input + width if endpoint.longest else estimate.tokens) > limit:
        words = f"Your question is longer than all you may use in one {span}. Make it shorter."
        raise BadRequest(words, param=endpoint.prompt, code="too_long_for_limit")
    if not endpoint.longest:
        return body, estimate
    most = min(_asked(body, endpoint) or _unasked(endpoint, model), (limit - estimate.input) // width)
    if left is not None:
        most = min(most, max(SHORTEST, (left - estimate.input) // width))
    return body | _bounds(body, endpoint, most), replace(estimate, tokens=estimate.input + width * most)


def _tightest(allowance: Allowance) -> tuple[int | None, str]:
    minute, day = allowance.tokens_per_minute, allowance.tokens_per_day
    if minute is None or (day is not None and day < minute):
        return day, "day"
    return minute, "minute"


def _asked(body: dict[str, Any], endpoint: _Endpoint) -> int | None:
    """At least 1: an engine that takes 0 for a length makes one token."""
    read = (whole(body.get(name)) for name in endpoint.longest)
    return next((max(1, number) for number in read if number is not None), None)


def _unasked(endpoint: _Endpoint, model: Model) -> int:
    """Not above the model's context, which an engine refuses."""
    usual = endpoint.unasked or TIMES_USUAL * model.answer_tokens
    return min(usual, model.context_tokens or usual)


def _bounds(body: dict[str, Any], endpoint: _Endpoint, most: int) -> dict[str, int]:
    """Every name that asks for more, or for what is no number; where none asks, the one that is there, or the last."""
    asking = [name for name in endpoint.longest if body.get(name) is not None]
    if not asking:
        return {next((name for name in endpoint.longest if name in body), endpoint.longest[-1]): most}
    read = {name: whole(body[name]) for name in asking}
    return {name: most for name, number in read.items() if number is None or number > most}
