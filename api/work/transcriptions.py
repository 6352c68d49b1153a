"""All transcription jobs, as the leader and the endpoints handle them: driven, cancelled, given up, deleted."""

import logging
import time

from api.front import Front
from api.transcription_object import job_event
from api.work.dispatch import Dispatcher
from api.work.drive import Drive, retention_s, tidy
from api.work.journal import taken
from api.work.leader import Kind
from api.work.results import job_folder, pieces_folder
from api.work.webhook import deliver
from familyai.transcription import Fault, Outcome, Record, Status
from familyai.transcriptions import Superseded, TranscriptionStore

log = logging.getLogger(__name__)


class Transcriptions:
    """`jobs` and `webhooks` are what the leader drives: the jobs, and the calls at their ends."""

    def __init__(self, front: Front, dispatcher: Dispatcher) -> None:
        self._front = front
        self._dispatcher = dispatcher
        self._store = TranscriptionStore(front.redis)
        self.jobs = Kind(self._drive, self._give_up, self._is_over, self._tidy_up)
        self.webhooks = Kind(self._call, self._give_up_calling, self._is_settled, self._keep)

    async def _drive(self, job_id: str) -> None:
        journal = await taken(self._store, job_id)
        if journal is None:
            return
        try:
            await Drive(self._front, self._dispatcher, journal).run()
        except Superseded:
            log.info("a job was taken away", extra={"action": "transcription.superseded", "transcription": job_id})

    async def _give_up(self, job_id: str, reason: str) -> None:
        record = await self._store.find(job_id)
        if record is not None:
            await end(self._front, self._store, record, "failed", Fault("internal_error", reason))

    async def _is_over(self, job_id: str) -> bool:
        return await self._store.status(job_id) not in ("queued", "running")

    async def _tidy_up(self, job_id: str) -> None:
        is_deleted = await self._store.status(job_id) is None
        await tidy(self._front.blobs, job_folder(job_id) if is_deleted else pieces_folder(job_id))

    async def _call(self, job_id: str) -> None:
        record = await self._store.find(job_id)
        if record is None or record.order.webhook_url is None:
            return
        url, event_id = record.order.webhook_url, f"evt_{record.id}"
        hosts, secret = self._front.profile.limits.webhook_hosts, self._front.webhook_secret
        done = await deliver(url, notice(record, event_id), event_id=event_id, secret=secret, hosts=hosts)
        await self._store.note_webhook(job_id, Outcome(done.delivered_at_s, done.tries, done.error))

    async def _give_up_calling(self, job_id: str, reason: str) -> None:
        await self._store.note_webhook(job_id, Outcome(None, 0, "internal_error"))

    async def _keep(self, job_id: str) -> None:
        """A call leaves nothing behind."""

    async def _is_settled(self, job_id: str) -> bool:
        return not await self._store.awaits_webhook(job_id)


def notice(record: Record, event_id: str) -> dict[str, object]:
    """What a webhook says: which job has ended how. No file's name and no word that was spoken leaves the house."""
    return {
        "id": event_id,
        "object": "event",
        "type": f"transcription.job.{record.status}",
        "created_at": int(record.ended_at_s or 0),
        "data": {"id": record.id, "object": "transcription.job", "status": record.status},
    }


async def end(
    front: Front, store: TranscriptionStore, record: Record, status: Status, fault: Fault | None = None
) -> Status | None:
    """Ends a job from outside its drive, which then has nothing to write any more; the status it has after that, None
    when it is gone. What was completed stays. Raises redis-py's errors."""
    now_s = time.time()
    ended = record.ended(status, now_s, now_s + retention_s(front), fault)
    return await store.end(ended, job_event(ended, now_s))


async def delete(front: Front, store: TranscriptionStore, record: Record) -> None:
    """Ends it first. Raises redis-py's errors; what cannot be deleted now is swept later."""
    if not record.is_over:
        await end(front, store, record, "cancelled")
    await store.delete(record)
    await tidy(front.blobs, job_folder(record.id))
