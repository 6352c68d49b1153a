"""Members who ask: some keep many questions waiting, one asks one after the other."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from time import perf_counter

import psutil

from familyai import keys
from familyai.lanes import Priority

from ..client import Connection, Recording, connections
from ..questions import PROMPT_WORDS, Question, WrongAnswer, http_request, word_times
from ..setup import QUEUE
from .figures import Answer, Window
from .variants import Stack

TOKENS_PER_S = 50.0
LONG_TOKENS, SHORT_TOKENS = 12, 3
SETTLE_S = 1.0
LIMIT_S = 90.0


@dataclass(frozen=True)
class Asker:
    """A member who has so many questions waiting at any time, and asks a new one for each that was answered.

    `tokens`: of an answer, on average. `reads_per_s`: words of a prompt that the engine reads; None: in no time.
    """

    member: str
    at_once: int
    tokens: int = LONG_TOKENS
    tokens_per_s: float | None = TOKENS_PER_S
    prompt_words: int = PROMPT_WORDS
    n: int = 1
    priority: Priority = Priority.INTERACTIVE
    after_s: float = 0.0
    reads_per_s: float | None = None

    @property
    def delay_s(self) -> float:
        return self.prompt_words / self.reads_per_s if self.reads_per_s else 0.0

    def length(self, number: int) -> int:
        """Half as long to half as long again: answers that all last the same would all end together."""
        return self.tokens // 2 + number * 5 % (self.tokens + 1)


class Crowd:
    """Everybody asks until `leave`. What is waiting then is withdrawn, what is being answered is heard to its end."""

    def __init__(self, stack: Stack, askers: Sequence[Asker]) -> None:
        self._stack = stack
        self._askers = askers
        self._opened: list[Connection] = []
        self._asking: list[asyncio.Task[None]] = []
        self._leaving = False
        self._heard: list[tuple[Asker, Question, Recording]] = []

    async def come(self) -> None:
        for asker in self._askers:
            self._asking.append(asyncio.create_task(self._join(asker)))
        await asyncio.sleep(SETTLE_S)

    async def leave(self) -> None:
        """Raises WrongAnswer for any answer that was not whole and right."""
        self._leaving = True
        for connection in self._opened:
            if not connection.has_words:
                connection.close()
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(*self._asking)

    def answers(self) -> dict[str, list[Answer]]:
        """By member; to be called when they have left."""
        found: dict[str, list[Answer]] = {asker.member: [] for asker in self._askers}
        for asker, question, recording in self._heard:
            found[asker.member].append(read(asker.member, question, recording))
        return found

    async def _join(self, asker: Asker) -> None:
        await asyncio.sleep(asker.after_s)
        async with connections(self._stack.port, asker.at_once) as opened:
            self._opened += opened
            await asyncio.gather(*(self._ask(asker, place, one) for place, one in enumerate(opened)))

    async def _ask(self, asker: Asker, place: int, connection: Connection) -> None:
        for number in count():
            if self._leaving:
                return
            question = self._question(asker, place, number)
            more = {"x-familyai-priority": asker.priority}
            request = http_request(question, self._stack.port, self._stack.api_keys[asker.member], more)
            try:
                self._heard.append((asker, question, await connection.ask(request)))
            except WrongAnswer:
                if not self._leaving:
                    raise
                return

    def _question(self, asker: Asker, place: int, number: int) -> Question:
        return Question(
            f"{asker.member}{place}x{number}",
            asker.length(place + number),
            True,
            asker.tokens_per_s,
            asker.prompt_words,
            n=asker.n,
            known=self._stack.known,
            delay_s=asker.delay_s,
        )


def read(member: str, question: Question, recording: Recording) -> Answer:
    """Raises WrongAnswer."""
    times = word_times(question, recording.chunks)
    return Answer(member, recording.sent_s, times, len(question.prompt.split()))


@asynccontextmanager
async def crowd(stack: Stack, *askers: Asker) -> AsyncIterator[Crowd]:
    """They are there and all wait when the block begins; afterwards the stack stands idle."""
    made = Crowd(stack, askers)
    await made.come()
    try:
        yield made
    finally:
        await made.leave()
        await idle(stack)


async def in_turn(
    stack: Stack, member: str, questions: int, limit_s: float, tokens: int = SHORT_TOKENS
) -> list[Answer]:
    """So many short questions, one after the other; none is begun after `limit_s`. Raises WrongAnswer."""
    heard, until_s = [], perf_counter() + limit_s
    async with connections(stack.port, 1) as (connection,):
        for number in range(questions):
            if heard and perf_counter() > until_s:
                break
            question = Question(f"{member}{number}", tokens, True, TOKENS_PER_S, known=stack.known)
            recording = await connection.ask(http_request(question, stack.port, stack.api_keys[member]))
            heard.append((question, recording))
    return [read(member, *one) for one in heard]


async def watched(seconds: float) -> Window:
    """What passes from now on, for so long."""
    begin_s = perf_counter()
    await asyncio.sleep(seconds)
    return Window(begin_s, perf_counter())


async def idle(stack: Stack) -> None:
    """Until nobody waits and nothing runs. Raises TimeoutError."""
    async with asyncio.timeout(LIMIT_S):
        while await stack.redis.hlen(keys.backlog(QUEUE)) or await stack.redis.hlen(keys.running(QUEUE)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def cpu_s(stack: Stack) -> float:
    """CPU seconds so far of the stack's processes, of those that they started, and of this one."""
    own = [psutil.Process(pid) for pid in stack.pids]
    started = [child for process in own for child in process.children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in (*own, *started, psutil.Process()))
