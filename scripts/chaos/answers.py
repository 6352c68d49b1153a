"""Asks one question and writes down what comes, over as many connections as it takes."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from .doors import RETRY_S, Doors, Refused
from .events import EventReader
from .questions import STREAMED, Question
from .transcript import Ended, Transcript
from .verdicts import is_told

PAUSE_S = 0.5
"""Between hanging up and coming back."""
NOT_NOW = ("broker_down", "stopping", "too_many_connections")
"""What a front says of itself, and not of the job: another time, or another front, may know more."""


async def ask(doors: Doors, question: Question, transcript: Transcript) -> None:
    """Fills in the transcript until its answer is over. Cancelled, it stays `WAITING`."""
    door = await doors.open_one()
    headers = {"x-familyai-detach": "true"} if question.detach else {}
    await _read(transcript, doors, door, "POST", question.path, json=question.body(), headers=headers)
    while question.detach and transcript.job_id and transcript.ended is Ended.CUT and not is_told(transcript):
        await asyncio.sleep(PAUSE_S if transcript.code == "client left" else RETRY_S)
        door = doors.other(door)
        await resume(doors, door, transcript)


async def read_again(doors: Doors, transcript: Transcript, first: Transcript) -> None:
    """The answer of a job that is over, from its beginning."""
    transcript.job_id = first.job_id
    door = doors.any()
    while transcript.ended in (Ended.WAITING, Ended.CUT):
        await resume(doors, door, transcript)
        door = doors.other(door)
        await asyncio.sleep(RETRY_S if transcript.ended is Ended.CUT else 0)


async def resume(doors: Doors, door: int, transcript: Transcript) -> None:
    """From after the last event that came."""
    headers = {"last-event-id": str(transcript.last_number)}
    path = f"/v1/jobs/{transcript.job_id}/events"
    await _read(transcript, doors, door, "GET", path, headers=headers)
    if transcript.ended is Ended.REFUSED and transcript.code in NOT_NOW:
        transcript.ended = Ended.CUT


@contextmanager
def written_down(transcript: Transcript) -> Iterator[None]:
    """Of whatever is asked in the block: how it was refused or cut, if it was, and when it was over."""
    try:
        yield
    except Refused as refused:
        transcript.ended, transcript.code, transcript.status = Ended.REFUSED, refused.code, refused.status
    except (httpx.ConnectError, httpx.ConnectTimeout):
        transcript.ended, transcript.code = Ended.CUT, "no connection"
    except httpx.TransportError:
        transcript.ended, transcript.code = Ended.CUT, "connection cut"
    transcript.ended_s = time.monotonic()


async def _read(transcript: Transcript, doors: Doors, door: int, method: str, path: str, **more: object) -> None:
    """One connection. Its end is the transcript's, unless somebody goes on."""
    transcript.ended, transcript.code = Ended.WAITING, ""
    with written_down(transcript):
        async with doors.open(door, method, path, **more) as response:
            transcript.connections += 1
            transcript.job_id = response.headers.get("x-familyai-job-id", transcript.job_id)
            await _write_down(transcript, response)


async def _write_down(transcript: Transcript, response: httpx.Response) -> None:
    question, reader = transcript.question, EventReader()
    if question.sort not in STREAMED:
        transcript.body = await response.aread()
        transcript.ended = Ended.IN_ORDER
        return
    async for data in response.aiter_raw():
        transcript.events += reader.feed(data, time.monotonic())
        if 0 < question.leaves_after <= len(transcript.events) and not transcript.left_after:
            transcript.left_after = len(transcript.events)
            transcript.ended, transcript.code = (Ended.CUT if question.detach else Ended.LEFT), "client left"
            return
    transcript.ended = Ended.IN_ORDER
    transcript.is_torn = reader.is_torn
