"""What clients ask for, drawn from the seed, and what must come back. Pure."""

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

LINES = 50
"""Of a batch."""
SENTENCES = ("The kettle sings.", "Nobody has seen the cat since noon.", "It rains on the roof, and the lamp is warm.")
EMBEDDED_TOKENS = 24
"""Of an answer by a real language model: on a small CPU every one counts."""


class Sort(StrEnum):
    """One sort of request, and how its answer is told from a wrong one."""

    CHAT = "chat stream"
    COMPLETION = "completion stream"
    WHOLE = "whole answer"
    BATCH = "batch"
    REAL_CHAT = "vLLM chat stream"
    REAL_RESPONSES = "vLLM responses stream"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription job"


ECHOED = frozenset({Sort.CHAT, Sort.COMPLETION, Sort.WHOLE})
STREAMED = frozenset({Sort.CHAT, Sort.COMPLETION, Sort.REAL_CHAT, Sort.REAL_RESPONSES})
ROLES = (*[Sort.CHAT] * 11, *[Sort.COMPLETION] * 2, *[Sort.WHOLE] * 2, Sort.BATCH)
REAL_ROLES = (*ROLES[:10], Sort.COMPLETION, Sort.WHOLE, Sort.BATCH, Sort.REAL_CHAT, Sort.REAL_RESPONSES, Sort.SPEECH)
_PATHS = {
    Sort.COMPLETION: "/v1/completions",
    Sort.REAL_RESPONSES: "/v1/responses",
    Sort.SPEECH: "/v1/audio/speech",
}


@dataclass(frozen=True)
class Question:
    """`name` and a number make each word, so that none comes twice and nobody else's can pass for one.

    `detach`: its job outlives its connection, and its client comes back for the rest. `leaves_after`: so many events
    after which its client hangs up by itself; 0: never. `again`: its client reads it once more when it is over.
    """

    sort: Sort
    name: str
    queue: str
    words: int = 0
    tokens_per_s: float = 0.0
    detach: bool = False
    leaves_after: int = 0
    again: bool = False

    @property
    def path(self) -> str:
        return _PATHS.get(self.sort, "/v1/chat/completions")

    @property
    def answer(self) -> list[str]:
        """Word for word, as the echo engine says it."""
        return [f"{self.name}-{number} " for number in range(self.words)]

    def body(self) -> dict[str, Any]:
        text = "".join(self.answer).strip()
        stream = {"model": self.queue, "stream": self.sort in STREAMED}
        match self.sort:
            case Sort.COMPLETION:
                return {**stream, "prompt": text, "echo": {"tokens_per_s": self.tokens_per_s}}
            case Sort.REAL_CHAT:
                return {**stream, "messages": _messages("Tell me of a fox."), **_COUNTED}
            case Sort.REAL_RESPONSES:
                return {**stream, "input": "Tell me of a fox.", "max_output_tokens": EMBEDDED_TOKENS, "store": False}
            case Sort.SPEECH:
                return {"model": self.queue, "voice": "alloy", "input": " ".join(SENTENCES), "response_format": "wav"}
            case _:
                return {**stream, "messages": _messages(text), "echo": {"tokens_per_s": self.tokens_per_s}}

    def lines(self) -> dict[str, dict[str, Any]]:
        """Of a batch, by their custom ids; the answer to each is its id."""
        names = [f"{self.name}-{number}" for number in range(LINES)]
        echo = {"delay_s": 0.2}
        return {name: {"model": self.queue, "messages": _messages(name), "echo": echo} for name in names}


_COUNTED = {
    "max_tokens": EMBEDDED_TOKENS,
    "stream_options": {"include_usage": True},
    "return_token_ids": True,
}


class Curiosity:
    """One client: what it asks next is decided by the seed and its number alone."""

    def __init__(self, seed: int, number: int, queues: dict[Sort, list[str]], detach: bool) -> None:
        roles = REAL_ROLES if Sort.REAL_CHAT in queues else ROLES
        self._dice = random.Random(f"{seed} client {number}")  # noqa: S311 (chance that can be repeated)
        self._sort, self._queues, self._detach = roles[number % len(roles)], queues, detach
        self._name, self._asked = f"c{number}", 0

    def next(self) -> Question:
        self._asked += 1
        dice, sort = self._dice, self._sort
        if sort is Sort.SPEECH and dice.random() < 0.3:
            sort = Sort.TRANSCRIPTION
        question = Question(sort, f"{self._name}q{self._asked}", dice.choice(self._queues[sort]))
        words, tokens_per_s, detach = dice.randint(20, 200), dice.uniform(8, 30), dice.random() < 0.6
        leaves, again = dice.random() < 0.15, dice.random() < 0.15
        if sort in ECHOED:
            question = replace(question, words=words, tokens_per_s=round(tokens_per_s, 1))
        if sort in STREAMED:
            detach = detach and self._detach
            leaves_after = max(1, (words or EMBEDDED_TOKENS) // 3) if leaves else 0
            question = replace(question, detach=detach, leaves_after=leaves_after, again=again and detach)
        return question

    def think_s(self) -> float:
        return self._dice.uniform(0.0, 1.0)


def _messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]
