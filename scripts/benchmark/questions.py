"""What is asked, and whether the answer is the one that must come back: whole, in order, and nobody else's. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import orjson

from workers.engines.echo import expected_words

MODEL = "familyai/echo"
PROMPT_WORDS = 7


class WrongAnswer(Exception):
    """An answer was refused, cut, mixed up or changed: no figure of this run may be believed."""


@dataclass(frozen=True)
class Question:
    """`name` is in every word asked for, so that another stream's words cannot pass for this one's.

    `tokens_per_s` of None means as fast as possible. `says_length`: else the answer is the prompt, once, and nobody
    knows before how long it will be. `known`: whether the words of the answer are; a language model's are not.
    `delay_s`: before the first word, in the engine.
    """

    name: str
    tokens: int
    stream: bool
    tokens_per_s: float | None = None
    prompt_words: int = PROMPT_WORDS
    says_length: bool = True
    n: int = 1
    known: bool = True
    delay_s: float = 0.0

    @property
    def prompt(self) -> str:
        count = self.prompt_words if self.says_length else self.tokens
        return " ".join(f"{self.name}-{index}" for index in range(count))

    @property
    def answer(self) -> str:
        return "".join(expected_words(self.prompt, self.tokens))

    def body(self) -> bytes:
        """As fast as possible is a pace that nothing keeps: the engine then takes one turn of its loop per word."""
        messages = [{"role": "user", "content": self.prompt}]
        asked: dict[str, Any] = {"model": MODEL if self.known else "auto", "messages": messages, "stream": self.stream}
        if self.says_length:
            asked |= {"max_tokens": self.tokens, "ignore_eos": True}
        if self.known:
            asked["echo"] = {"tokens_per_s": self.tokens_per_s or 1e6, "delay_s": self.delay_s}
        if self.n > 1:
            asked["n"] = self.n
        return orjson.dumps(asked)


@dataclass(frozen=True)
class Event:
    """One event of a stream, without its field name, and when its last byte came."""

    at_s: float
    data: bytes


def http_request(question: Question, port: int, api_key: str, more: Mapping[str, str] | None = None) -> bytes:
    """The bytes on the wire; both ways get the same, the engine alone ignores the key. `more`: other headers."""
    body = question.body()
    head = (
        "POST /v1/chat/completions HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        f"authorization: Bearer {api_key}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in (more or {}).items()),
    )
    return "\r\n".join((*head, "", "")).encode() + body


def events(chunks: list[tuple[float, bytes]]) -> list[Event]:
    """The events of a stream however it was cut into chunks; comments are left out, other fields too.

    Raises WrongAnswer when the last event is not closed by a blank line.
    """
    ends = list(accumulate(len(data) for _, data in chunks))
    found, chunk, end = [], 0, 0
    *closed, rest = b"".join(data for _, data in chunks).split(b"\n\n")
    for text in closed:
        end += len(text) + 2
        while ends[chunk] < end:
            chunk += 1
        found += [Event(chunks[chunk][0], line[6:]) for line in text.split(b"\n") if line.startswith(b"data: ")]
    if rest:
        raise WrongAnswer(f"the stream ends in the middle of an event: {rest[:80]!r}")
    return found


def word_times(question: Question, chunks: list[tuple[float, bytes]]) -> list[float]:
    """When each word of a streamed answer came. Raises WrongAnswer unless it is exactly the answer that was due."""
    *answer, done = events(chunks) or [Event(0.0, b"")]
    if done.data != b"[DONE]":
        raise WrongAnswer(f"{question.name}: the stream ends without [DONE] but with {done.data[:200]!r}")
    words, times = defaultdict(list), []
    for event in answer:
        for choice, word in _words(question, event.data):
            words[choice].append(word)
            times.append(event.at_s)
    if question.known:
        for choice in range(question.n):
            _compare(question, "".join(words[choice]))
        if len(times) != question.tokens * question.n:
            raise WrongAnswer(f"{question.name}: {len(times)} words came, {question.tokens * question.n} were due")
    elif not times:
        raise WrongAnswer(f"{question.name}: an answer without words")
    return times


def check_whole(question: Question, data: bytes) -> None:
    """Raises WrongAnswer unless this is exactly the answer that was due, in one piece."""
    try:
        text = orjson.loads(data)["choices"][0]["message"]["content"]
    except (orjson.JSONDecodeError, LookupError, TypeError) as error:
        raise WrongAnswer(f"{question.name}: not an answer: {data[:200]!r}") from error
    _compare(question, text)


def _words(question: Question, data: bytes) -> list[tuple[int, str]]:
    """What an event adds to which of the answers."""
    try:
        choices = [(choice.get("index", 0), choice["delta"].get("content")) for choice in orjson.loads(data)["choices"]]
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise WrongAnswer(f"{question.name}: not an event of an answer: {data[:200]!r}") from error
    return [(index, content) for index, content in choices if isinstance(content, str) and content]


def _compare(question: Question, text: str) -> None:
    if text != question.answer:
        differs = next((i for i, (a, b) in enumerate(zip(text, question.answer, strict=False)) if a != b), len(text))
        around = text[max(0, differs - 30) : differs + 30]
        raise WrongAnswer(f"{question.name}: not the answer that was due, from character {differs}: ...{around!r}")
