"""The voices that the household's speech engine has. Only the engine knows, so it is asked, like anybody else asks."""

import asyncio
import logging
import time
from typing import Annotated, cast

import msgspec
from fastapi import Depends, Request

from api.call import call
from api.front import Front
from familyai.catalogue import Task
from familyai.errors import RequestError
from familyai.job import Job, new_job_id
from routing.resolve import default_name, resolve

log = logging.getLogger(__name__)

FRESH_S = 30.0
PATIENCE_S = 3.0


class _Voice(msgspec.Struct):
    id: str


class _Voices(msgspec.Struct):
    voices: list[_Voice]


class Voices:
    """Anybody may ask for them, without a key: so the engine is asked once in `FRESH_S` seconds, by one at a time."""

    def __init__(self) -> None:
        self._names: list[str] | None = None
        self._asked_at_s = -FRESH_S
        self._asking = asyncio.Lock()

    async def names(self, front: Front) -> list[str]:
        """As the engine last told; while it never did, those of the catalogue."""
        async with self._asking:
            if time.monotonic() - self._asked_at_s >= FRESH_S:
                await self._ask(front)
                self._asked_at_s = time.monotonic()
        return self._names if self._names is not None else _configured(front)

    async def _ask(self, front: Front) -> None:
        name = default_name(Task.SPEAK, front.profile)
        if name is None:
            return
        target = resolve(name, front.profile)
        job = Job(
            id=new_job_id(),
            queue=target.physical,
            model=target.model.model,
            member="",
            front=front.id,
            method="GET",
            path="/v1/audio/voices",
            created_at_s=time.time(),
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await call(front, job)
            self._names = [voice.id for voice in msgspec.json.decode(answer.body, type=_Voices).voices]
        except (RequestError, TimeoutError, msgspec.MsgspecError) as error:
            log.info("voices unknown", extra={"action": "voices.unknown", "reason": type(error).__name__})


def _configured(front: Front) -> list[str]:
    return [voice for model in front.profile.models.values() for voice in model.voices]


async def current_voices(request: Request) -> Voices:
    return cast(Voices, request.app.state.voices)


CurrentVoices = Annotated[Voices, Depends(current_voices)]
