"""What is asked, and whether the answer is the one that must come back: whole, in order, and nobody else's. Pure."""

from dataclasses import dataclass
from itertools import accumulate

import orjson

from workers.engines.echo import expected_words

MODEL = "familyai/echo"
PROMPT_WORDS = 7


class WrongAnswer(Exception):
    """An answer was refused, cut, mixed up or changed: no figure of this run may be believed."""


@dataclass(frozen=True)
class Question:
    """`name` is in every word asked for, so that another stream's words cannot pass for this one's.

    `tokens_per_s` of None means as fast as possible.
    """

    name: str
    tokens: int
    stream: bool
    tokens_per_s: float | None = None

    @property
    def prompt(self) -> str:
        return " ".join(f"{self.name}-{index}" for index in range(PROMPT_WORDS))

    @property
    def answer(self) -> str:
        return "".join(expected_words(self.prompt, self.tokens))

    def body(self) -> bytes:
        """As fast as possible is a pace that nothing keeps: the engine then takes one turn of its loop per word."""
        echo = {"tokens_per_s": self.tokens_per_s or 1e6}
        messages = [{"role": "user", "content": self.prompt}]
        asked = {
            "model": MODEL,
            "messages": messages,
            "max_tokens": self.tokens,
            "ignore_eos": True,
            "stream": self.stream,
            "echo": echo,
        }
        return orjson.dumps(asked)


@dataclass(frozen=True)
class Event:
    """One event of a stream, without its field name, and when its last byte came."""

    at_s: float
    data: bytes


def http_request(question: Question, port: int, api_key: str) -> bytes:
    """The bytes on the wire; both ways get the same, the engine alone ignores the key."""
    body = question.body()
    head = (
        "POST /v1/chat/completions HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        f"authorization: Bearer {api_key}",
        "content-type: application/json",
        f"content-length: {len(body)}",
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
    words, times = [], []
    for event in answer:
        if (word := _word(question, event.data)) is not None:
            words.append(word)
            times.append(event.at_s)
    _compare(question, "".join(words))
    if len(times) != question.tokens:
        raise WrongAnswer(f"{question.name}: {len(times)} words came, {question.tokens} were due")
    return times


def check_whole(question: Question, data: bytes) -> None:
    """Raises WrongAnswer unless this is exactly the answer that was due, in one piece."""
    try:
        text = orjson.loads(data)["choices"][0]["message"]["content"]
    except (orjson.JSONDecodeError, LookupError, TypeError) as error:
        raise WrongAnswer(f"{question.name}: not an answer: {data[:200]!r}") from error
    _compare(question, text)


def _word(question: Question, data: bytes) -> str | None:
    try:
        content = orjson.loads(data)["choices"][0]["delta"].get("content")
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise WrongAnswer(f"{question.name}: not an event of an answer: {data[:200]!r}") from error
    return content if isinstance(content, str) and content else None


def _compare(question: Question, text: str) -> None:
    if text != question.answer:
        differs = next((i for i, (a, b) in enumerate(zip(text, question.answer, strict=False)) if a != b), len(text))
        around = text[max(0, differs - 30) : differs + 30]
        raise WrongAnswer(f"{question.name}: not the answer that was due, from character {differs}: ...{around!r}")
