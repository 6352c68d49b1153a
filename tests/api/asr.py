"""An engine that hears what a test has written down: recordings are JSON, of which each word is a window."""

import asyncio
import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from familyai import cancel
from familyai.blobs import BlobStore
from familyai.broker import BROKER_ERRORS
from familyai.job import Blob
from familyai.jobs import Claim
from familyai.lanes import Priority
from tests.api.support import ScriptedWorker

QUEUE = "asr"
MODEL = {"model": "org/asr", "engine": "echo", "memory_gb": 1, "slots": 2, "tasks": ["transcribe"]}
LEAD_S, WINDOW_S, GAP_S = 1.0, 10.0, 5.0
"""Of silence before each word, of the word, and of silence after the last one."""


def recording(*words: str, language: str | None = "en") -> bytes:
    return json.dumps({"words": words, "language": language}).encode()


def duration_s(count: int) -> float:
    return count * (LEAD_S + WINDOW_S) + GAP_S


@dataclass
class Asr:
    """Answers jobs of the batch lane as long as `open` is set; a window that says `BOOM` breaks it, once for each."""

    worker: ScriptedWorker
    blobs: BlobStore
    open: asyncio.Event = field(default_factory=asyncio.Event)
    cuts: Counter[str] = field(default_factory=Counter)
    heard: Counter[str] = field(default_factory=Counter)
    forms: list[str] = field(default_factory=list)
    full: int = 0
    _answers: list["asyncio.Task[None]"] = field(default_factory=list)

    def start(self) -> None:
        self._is_dead = False
        self.worker.life = asyncio.create_task(self.worker.live())
        self._taking = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """As a killed process does: without a word to anybody. No message is lost between the queue and a claim."""
        self._is_dead = True
        await self._taking
        await cancel.end([*self._answers, *([self.worker.life] if self.worker.life else [])])

    async def _run(self) -> None:
        while not self._is_dead:
            try:
                claim = await self._take()
            except BROKER_ERRORS:
                await asyncio.sleep(0.1)
                continue
            if claim is not None:
                assert claim.job.priority is Priority.BATCH
                self._answers.append(asyncio.create_task(self._answer(claim)))

    async def _take(self) -> Claim | None:
        """The next job; None if there is none, or it was withdrawn."""
        delivery = await self.worker.pop(0.05)
        claim = await self.worker.jobs.claim(delivery, QUEUE, self.worker.id) if delivery else None
        return claim if isinstance(claim, Claim) else None

    async def _answer(self, claim: Claim) -> None:
        if claim.job.path == "/v1/audio/cuts":
            status, body = await self._cut(json.loads(claim.job.body))
        else:
            await self.open.wait()
            try:
                status, body = await self._hear(claim)
            except FileNotFoundError:  # its recording has failed meanwhile
                status, body = 404, refusal("the recording is not here any more", "audio_not_found")
        with suppress(*BROKER_ERRORS):
            await self.worker.answer(claim, json.dumps(body).encode(), status=status)

    async def _cut(self, asked: dict[str, Any]) -> tuple[int, Any]:
        try:
            spoken = json.loads(await self.blobs.get(asked["audio"]))
        except FileNotFoundError:
            return 404, refusal("the recording is not here any more", "audio_not_found")
        except ValueError:
            return 400, refusal("this is no recording", "bad_audio")
        if self.full:
            self.full -= 1
            return 507, refusal("the disk is full: nothing was stored", "insufficient_storage")
        words = [word.encode() + b" " * (len(word.encode()) % 2) for word in spoken["words"]]
        await self.blobs.put(asked["prepared"], b"".join(words))
        windows = []
        for k, word in enumerate(words):
            start = k * (LEAD_S + WINDOW_S) + LEAD_S
            offset = sum(map(len, words[:k]))
            windows.append({"start": start, "end": start + WINDOW_S, "offset": offset, "length": len(word)})
        self.cuts[spoken["words"][0] if words else ""] += 1
        language = asked["language"] or spoken["language"]
        return 200, {"duration": duration_s(len(words)), "language": language if words else None, "windows": windows}

    async def _hear(self, claim: Claim) -> tuple[int, Any]:
        stretch = claim.job.blob
        assert isinstance(stretch, Blob)
        samples = b"".join([chunk async for chunk in self.blobs.chunks(stretch.name, stretch.offset, stretch.length)])
        word = samples.decode().strip()
        form = claim.job.body.partition(b"RIFF")[0].decode()
        self.forms.append(form)
        assert claim.job.body.endswith(b"data" + len(samples).to_bytes(4, "little"))
        self.heard[word] += 1
        if word == "BOOM":
            return 500, refusal("the engine stumbled", "engine_failed")
        return 200, verbose(word, language=re.search(r'name="language"\r\n\r\n(\w+)', form)[1])  # type: ignore[index]


def verbose(word: str, language: str) -> dict[str, Any]:
    scores = {"avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.0, "temperature": 0.0}
    segment = {"id": 0, "seek": 0, "start": 0.5, "end": 9.5, "text": f" {word}.", "tokens": [], **scores}
    words = [{"word": f"{word}.", "start": 0.5, "end": 9.5}]
    return {
        "task": "transcribe",
        "language": language,
        "duration": WINDOW_S,
        "text": f"{word}.",
        "segments": [segment],
        "words": words,
    }


def refusal(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
