"""Asks one question and writes down what comes, over as many connections as it takes."""

import asyncio
import time

import httpx

from .doors import RETRY_S, Doors, Refused
from .events import EventReader
from .questions import STREAMED, Question
from .transcript import Ended, Transcript
from .verdicts import is_told

UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout)
NO_CONNECTION = "no connection"
PAUSE_S = 0.5
"""Between hanging up and coming back."""
NOT_NOW = 503
"""The status of a front that stops, or has no broker: another time, or another front, may know more."""


async def ask(doors: Doors, question: Question, transcript: Transcript) -> None:
    """Fills in the transcript until its answer is over. Cancelled, it stays `WAITING`."""
    door = await _begin(doors, question, transcript)
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
    if transcript.ended is Ended.REFUSED and transcript.status == NOT_NOW:
        transcript.ended = Ended.CUT


async def _begin(doors: Doors, question: Question, transcript: Transcript) -> int:
    """At the other door where one is shut: nobody heard it there. Returns the one that was asked last."""
    headers = {"x-familyai-detach": "true"} if question.detach else {}
    door = doors.any()
    await _read(transcript, doors, door, "POST", question.path, json=question.body(), headers=headers)
    if transcript.code == NO_CONNECTION:
        door = doors.other(door)
        await _read(transcript, doors, door, "POST", question.path, json=question.body(), headers=headers)
    return door


async def _read(transcript: Transcript, doors: Doors, door: int, method: str, path: str, **more: object) -> None:
    """One connection. Its end is the transcript's, unless somebody goes on."""
    transcript.ended, transcript.code = Ended.WAITING, ""
    try:
        async with doors.open(door, method, path, **more) as response:
            transcript.connections += 1
            transcript.job_id = response.headers.get("x-familyai-job-id", transcript.job_id)
            await _write_down(transcript, response)
    except Refused as refused:
        transcript.ended, transcript.code, transcript.status = Ended.REFUSED, refused.code, refused.status
    except UNREACHABLE:
        transcript.ended, transcript.code = Ended.CUT, NO_CONNECTION
    except httpx.TransportError:
        transcript.ended, transcript.code = Ended.CUT, "connection cut"
    transcript.ended_s = time.monotonic()


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
