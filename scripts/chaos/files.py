"""Work that outlives its request: batches and transcription jobs, from their files to their results."""

import asyncio
import time
from typing import Any, cast

import orjson

from .answers import written_down
from .doors import Doors
from .questions import Question
from .transcript import Ended, Transcript
from .verdicts import Verdict, judge_lines

POLL_S = 1.0
COMPLETIONS = "/v1/chat/completions"


async def batch(doors: Doors, question: Question, transcript: Transcript) -> Verdict | None:
    """Its verdict once it is over; None when it could not be begun, or was not over when this was cancelled."""
    lines = [
        {"custom_id": name, "method": "POST", "url": COMPLETIONS, "body": body}
        for name, body in question.lines().items()
    ]
    content = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    upload = {"files": {"file": ("lines.jsonl", content)}, "data": {"purpose": "batch"}}
    if (file := await _begun(doors, transcript, "/v1/files", **upload)) is None:
        return None
    wish = {"input_file_id": file["id"], "endpoint": COMPLETIONS, "completion_window": "24h"}
    if (begun := await _begun(doors, transcript, "/v1/batches", json=wish)) is None:
        return None
    ended = await _ended(doors, f"/v1/batches/{begun['id']}", ("completed", "failed", "expired", "cancelled"))
    return await _lines_judged(doors, question, transcript, ended)


async def transcription(doors: Doors, question: Question, recording: bytes, transcript: Transcript) -> None:
    """Its one result becomes the transcript's body."""
    wish = {"files": {"files": ("said.wav", recording)}, "data": {"model": question.queue, "formats": "json"}}
    if (begun := await _begun(doors, transcript, "/v1/transcription-jobs", **wish)) is None:
        return
    ended = await _ended(doors, f"/v1/transcription-jobs/{begun['id']}", ("completed", "failed", "cancelled"))
    try:
        transcript.body = await doors.until_told(ended["files"][0]["results"]["json"])
        transcript.ended = Ended.IN_ORDER
    except LookupError:
        transcript.ended, transcript.code = Ended.REFUSED, f"transcription {ended['status']}"
    transcript.ended_s = time.monotonic()


async def _lines_judged(doors: Doors, question: Question, transcript: Transcript, ended: dict[str, Any]) -> Verdict:
    told = []
    for name in ("output_file_id", "error_file_id"):
        if ended[name]:
            content = await doors.until_told(f"/v1/files/{ended[name]}/content")
            told += [orjson.loads(line) for line in content.splitlines()]
    transcript.ended, transcript.ended_s = Ended.IN_ORDER, time.monotonic()
    return judge_lines(question.lines(), told)


async def _begun(doors: Doors, transcript: Transcript, path: str, **wish: Any) -> dict[str, Any] | None:
    """Asked once: whether a request that broke was heard, nobody knows."""
    with written_down(transcript):
        return cast(dict[str, Any], orjson.loads(await doors.once(await doors.open_one(), "POST", path, **wish)))
    return None


async def _ended(doors: Doors, path: str, ends: tuple[str, ...]) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = orjson.loads(await doors.until_told(path))
        if found["status"] in ends:
            return found
        await asyncio.sleep(POLL_S)
