"""Clients that ask one thing after the other until they are told to stop. Each has its own dice."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import replace

from .answers import ask, read_again
from .doors import Doors, Refused
from .files import batch, transcription
from .questions import Curiosity, Question, Sort
from .tally import Tally
from .transcript import Ended, Transcript
from .verdicts import Fault, Verdict, judge

LIMIT_S = 900.0
"""Whoever has neither an answer nor an error by then has lost it: nothing waits in a queue for more than 600 s."""
AFTER_AN_ERROR_S = 0.3
_LOST = frozenset({Fault.LOST})


class Client:
    """One of the crowd. It asks for recordings before it has any to be transcribed."""

    def __init__(self, curiosity: Curiosity, doors: Doors, tally: Tally, stopping: asyncio.Event) -> None:
        self._curiosity, self._doors, self._tally, self._stopping = curiosity, doors, tally, stopping
        self._recording = b""

    async def run(self) -> None:
        """Until it is told to stop, and has its last answer. Cancelled, what it waits for counts as lost."""
        while not self._stopping.is_set():
            verdict = await self._ask(self._curiosity.next())
            await asyncio.sleep(AFTER_AN_ERROR_S if verdict.error else self._curiosity.think_s())

    async def _ask(self, question: Question) -> Verdict:
        if question.sort is Sort.TRANSCRIPTION and not self._recording:
            question = replace(question, sort=Sort.SPEECH, queue="tts")
        transcript = Transcript(question, began_s=time.monotonic())
        verdict = await self._judged(transcript, self._answer(transcript))
        if question.again and not verdict.faults and not verdict.error:
            again = Transcript(replace(question, leaves_after=0), began_s=time.monotonic())
            await self._judged(again, read_again(self._doors, again, transcript))
        return verdict

    async def _judged(self, transcript: Transcript, answer: Awaitable[Verdict | None]) -> Verdict:
        verdict: Verdict | None = None
        try:
            async with asyncio.timeout(LIMIT_S):
                verdict = await answer
        except TimeoutError:
            pass
        finally:
            verdict = verdict or judge(transcript)
            self._tally.add(transcript, verdict)
        return verdict

    async def _answer(self, transcript: Transcript) -> Verdict | None:
        question = transcript.question
        try:
            match question.sort:
                case Sort.BATCH:
                    return await batch(self._doors, question, transcript)
                case Sort.TRANSCRIPTION:
                    await transcription(self._doors, question, self._recording, transcript)
                case _:
                    await ask(self._doors, question, transcript)
        except Refused as refused:  # nobody knows of what was begun
            return Verdict(_LOST, words=str(refused))
        if question.sort is Sort.SPEECH and transcript.ended is Ended.IN_ORDER:
            self._recording = transcript.body
        return None
