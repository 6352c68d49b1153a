"""Work that outlives its request: batches and transcription jobs. One front process at a time drives them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.front import Front
from api.work.batches import BatchDriver
from api.work.dispatch import Dispatcher
from api.work.leader import Kind, Leader
from api.work.transcriptions import Transcriptions
from familyai import cancel
from familyai.batches import KIND as BATCH
from familyai.transcriptions import KIND, WEBHOOK


def kinds(front: Front, dispatcher: Dispatcher) -> dict[str, Kind]:
    """By the prefix of their entries in `familyai:work`."""
    transcriptions = Transcriptions(front, dispatcher)
    return {BATCH: BatchDriver(front, dispatcher).kind, KIND: transcriptions.jobs, WEBHOOK: transcriptions.webhooks}


@asynccontextmanager
async def leading(front: Front) -> AsyncIterator[None]:
    """Takes part in driving the household's work until the block ends."""
    task = asyncio.create_task(Leader(front, kinds(front, Dispatcher(front))).run())
    try:
        yield
    finally:
        await cancel.end([task])
