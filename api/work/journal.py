"""What a drive knows of its job, and the only place where it writes that down."""

import asyncio
import secrets
import time
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from api.transcription_object import FileEventName, file_event, job_event
from familyai.transcription import Event, Fault, Pace, Record, Recording, Status
from familyai.transcriptions import Superseded, TranscriptionStore

PROGRESS_INTERVAL_S = 1.0
"""Between two events of one job that only tell how far it is."""


class Journal:
    """A job that this process alone may write, as long as no other takes it: so `record` is what the broker holds.

    Every method raises Superseded when another has taken it or the job is over, and redis-py's errors.
    """

    def __init__(self, store: TranscriptionStore, record: Record, run: str) -> None:
        self.record = record
        self._store = store
        self._run = run
        self._step = 0
        self._writing = asyncio.Lock()
        self._told_at_s = 0.0

    async def write(
        self, n: int, change: Callable[[Recording], Recording], event_name: FileEventName | None = None
    ) -> Recording:
        """The recording as it is then. One that is over already changes no more."""
        async with self._writing:
            recording = self.record.recordings[n]
            if recording.is_over:
                return recording
            recording = change(recording)
            record = self.record.with_recording(n, recording)
            event = self._event(event_name, record, n)
            await self._advance(record, {str(n): msgspec.json.encode(recording)}, event)
            return recording

    async def set_pace(self) -> None:
        """From now on the rate is measured."""
        async with self._writing:
            pace = Pace(time.time(), sum(recording.done_ms for recording in self.record.recordings))
            await self._advance(replace(self.record, pace=pace), {"pace": msgspec.json.encode(pace)})

    async def end(self, retention_s: float, fault: Fault | None = None) -> None:
        """With a fault the job itself could not go on; without one, what became of its recordings decides."""
        async with self._writing:
            completed = any(recording.status == "completed" for recording in self.record.recordings)
            status: Status = "completed" if completed and fault is None else "failed"
            now_s = time.time()
            record = self.record.ended(status, now_s, now_s + retention_s, fault or self._common_fault(completed))
            if await self._store.end(record, job_event(record, now_s), self._run) != status:
                raise Superseded(record.id)
            self.record = record

    def _event(self, name: FileEventName | None, record: Record, n: int) -> Event | None:
        """None where there is nothing to tell, or too much was told already."""
        if name == "file.progress":
            if time.monotonic() - self._told_at_s < PROGRESS_INTERVAL_S:
                return None
            self._told_at_s = time.monotonic()
        return file_event(name, record, n, time.time()) if name else None

    async def _advance(self, record: Record, changes: dict[str, bytes], event: Event | None = None) -> None:
        self._step += 1
        await self._store.advance(record.id, self._run, self._step, changes, event)
        self.record = record

    def _common_fault(self, completed: bool) -> Fault | None:
        if completed:
            return None
        return Fault("all_files_failed", "none of the recordings could be transcribed; each says why")


async def taken(store: TranscriptionStore, job_id: str) -> Journal | None:
    """The job, from now on this process's; None when it is over. Raises redis-py's errors."""
    record = await store.find(job_id)
    if record is None or record.is_over:
        return None
    run, now_s = secrets.token_hex(8), time.time()
    running = replace(record, status="running", started_at_s=record.started_at_s or now_s)
    if not await store.take(job_id, run, job_event(running, now_s), now_s):
        return None
    record = await store.find(job_id)  # whoever had it before may have written until it was taken
    return Journal(store, record, run) if record is not None else None
