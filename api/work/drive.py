"""One transcription job, driven to its end: every recording is cut, its windows are transcribed, its results written.

1. Cut every recording that is not cut, several at once, so that the whole length is known before the long part begins.
   One for whose speech the disk has no room waits until the others have given theirs back.
2. Transcribe every window that is not done, recording by recording, as many at once as the model has slots.
3. A recording whose windows are all done gets its results, and what led to them is deleted.
4. When every recording is completed or failed, the job has ended.

What fails with one recording ends that one; its neighbours go on. Each piece is kept before it is noted as done, and
doing it again keeps the same: so a drive that dies anywhere is gone on with by the next.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from msgspec.structs import replace

from api.front import Front
from api.storage import storage_errors
from api.work import results
from api.work.bounded import Piece, bounded
from api.work.dispatch import Dispatcher
from api.work.journal import Journal
from api.work.pieces import Cuts, PieceFailed, cut_job, cuts_of, fault_of, transcript_of, window_job
from familyai.blobs import BlobStore
from familyai.catalogue import Task
from familyai.errors import InsufficientStorage, RequestError
from familyai.job import Job
from familyai.transcription import Fault, Recording
from routing.admit import check_task
from routing.progress import milliseconds, shares_ms
from routing.resolve import Target, resolve

log = logging.getLogger(__name__)

ROOM_WAIT_S, REST_S = 600.0, 2.0
_DONE, _LEFT = "1", "0"
_LOST = Fault("parts_lost", "a part of this recording's transcript is no longer there")

_P = ParamSpec("_P")
_T = TypeVar("_T")


def retention_s(front: Front) -> float:
    return front.profile.limits.retention_h * 3600


class Drive:
    """Raises Superseded, redis-py's errors, and Unavailable while the blob store is gone."""

    def __init__(self, front: Front, dispatcher: Dispatcher, journal: Journal) -> None:
        self._front = front
        self._dispatcher = dispatcher
        self._journal = journal
        self._order = journal.record.order
        self._put_off: list[int] = []

    async def run(self) -> None:
        """To the job's end."""
        try:
            target = resolve(self._order.model, self._front.profile, Task.TRANSCRIBE)
            check_task(Task.TRANSCRIBE, target, self._front.profile)
        except RequestError as error:  # the catalogue has changed since
            await self._end(fault_of(error))
            return
        await bounded(target.model.slots, self._cuttings(target))
        await self._transcribe(target)
        for n in self._put_off:
            await self._cut(target, n, is_last_try=True)
            await self._transcribe(target)
        await self._end()

    async def _cuttings(self, target: Target) -> AsyncIterator[Piece]:
        for n, recording in enumerate(self._journal.record.recordings):
            if recording.cut is None and not recording.is_over:
                yield partial(self._cut, target, n)

    async def _cut(self, target: Target, n: int, is_last_try: bool = False) -> None:
        await self._journal.write(n, lambda recording: replace(recording, status="preparing"))
        try:
            cut, cuts = await self._find_cuts(target, n)
        except (PieceFailed, RequestError) as error:
            fault = _fault(error)
            if fault.code != InsufficientStorage.code or is_last_try:
                await self._fail(n, fault)
            else:
                await self._journal.write(n, lambda recording: replace(recording, status="queued"))
                self._put_off.append(n)
            return
        await self._journal.write(n, lambda _: _prepared(cut, cuts), "file.prepared")

    async def _find_cuts(self, target: Target, n: int) -> tuple[str, Cuts]:
        """Raises PieceFailed and RequestError."""
        cut, audio = "", await self._audio(n)

        def make_job() -> Job:
            nonlocal cut
            cut = secrets.token_hex(8)
            prepared = results.prepared_blob(self._order.id, n, cut)
            return cut_job(self._front, self._order.member, target, audio, prepared, self._order.language)

        cuts = cuts_of(await self._dispatcher.run(target.physical, self._order.member, make_job))
        await self._stored(results.write_cuts, results.cuts_blob(self._order.id, n, cut), cuts)
        return cut, cuts

    async def _audio(self, n: int) -> str:
        """The blob to cut. A member's own file is kept that long. Raises NotFound for one that is gone."""
        file_id = self._order.sources[n].file_id
        if file_id is None:
            return results.audio_blob(self._order.id, n)
        file = await self._front.files.get(file_id, self._order.member)
        await self._front.files.keep(file, time.time() + retention_s(self._front))
        return file.blob

    async def _transcribe(self, target: Target) -> None:
        await self._journal.set_pace()
        await bounded(target.model.slots, self._hearings(target))

    async def _hearings(self, target: Target) -> AsyncIterator[Piece]:
        """Every window that is not done of every recording that is cut."""
        for n, recording in enumerate(self._journal.record.recordings):
            if recording.cut is None or recording.is_over:
                continue
            try:
                cuts = await self._stored(results.read_cuts, results.cuts_blob(self._order.id, n, recording.cut))
            except (PieceFailed, RequestError) as error:
                await self._fail(n, _fault(error))
                continue
            await self._journal.write(n, lambda recording: replace(recording, status="running"))
            left = [k for k, mark in enumerate(recording.windows) if mark == _LEFT]
            for k in left:
                yield partial(self._hear, target, n, k, cuts)
            if not left:
                yield partial(self._complete, n, cuts)

    async def _hear(self, target: Target, n: int, k: int, cuts: Cuts) -> None:
        """One window; with the last of its recording, that is completed, too."""
        if self._journal.record.recordings[n].is_over:  # another window of it has failed
            return
        try:
            await self._keep_window(target, n, k, cuts)
        except (PieceFailed, RequestError) as error:
            await self._fail(n, _fault(error))
            return
        marked = await self._journal.write(n, lambda recording: _marked(recording, k, cuts), "file.progress")
        if not marked.is_over and _LEFT not in marked.windows:
            await self._complete(n, cuts)

    async def _keep_window(self, target: Target, n: int, k: int, cuts: Cuts) -> None:
        """Raises PieceFailed and RequestError."""
        order, language = self._order, cuts.language or ""
        prepared = results.prepared_blob(order.id, n, self._journal.record.recordings[n].cut or "")

        def make_job() -> Job:
            window, words = cuts.windows[k], order.word_timestamps
            return window_job(self._front, order.member, target, prepared, window, language, words)

        heard = transcript_of(await self._dispatcher.run(target.physical, self._order.member, make_job), language)
        await self._stored_patiently(results.write_window, results.window_blob(order.id, n, k), heard)

    async def _complete(self, n: int, cuts: Cuts) -> None:
        order = self._order
        try:
            await self._stored_patiently(results.assemble, order.id, n, cuts, order.formats, order.word_timestamps)
        except (PieceFailed, RequestError) as error:
            await self._fail(n, _fault(error))
            return
        await self._journal.write(n, lambda recording: _completed(recording, cuts), "file.completed")
        await tidy(self._front.blobs, results.file_folder(order.id, n))

    async def _fail(self, n: int, fault: Fault) -> None:
        extra = {"action": "transcription.file_failed", "transcription": self._order.id, "file": n, "code": fault.code}
        log.info("a recording failed", extra=extra)
        await self._journal.write(n, lambda recording: replace(recording, status="failed", error=fault), "file.failed")
        await tidy(self._front.blobs, results.file_folder(self._order.id, n))

    async def _end(self, fault: Fault | None = None) -> None:
        await self._journal.end(retention_s(self._front), fault)
        await tidy(self._front.blobs, results.pieces_folder(self._order.id))

    async def _stored_patiently(
        self, work: Callable[Concatenate[BlobStore, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """What was heard is not thrown away for a disk that is full now: it waits a while for room."""
        until_s = time.monotonic() + ROOM_WAIT_S
        while True:
            try:
                return await self._stored(work, *args, **kwargs)
            except InsufficientStorage:
                if time.monotonic() >= until_s:
                    raise
            await asyncio.sleep(REST_S)

    async def _stored(self, work: Callable[Concatenate[BlobStore, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Done in a thread. Raises PieceFailed for what is no longer there, InsufficientStorage, Unavailable."""

        def do() -> _T:
            with storage_errors():
                try:
                    return work(self._front.blobs, *args, **kwargs)
                except FileNotFoundError as error:
                    raise PieceFailed(_LOST) from error

        return await asyncio.to_thread(do)


async def tidy(blobs: BlobStore, folder: str) -> None:
    """Deletes what is of no use any more; what cannot be deleted now goes with the job."""
    try:
        await blobs.delete(folder)
    except OSError as error:
        log.warning("left-overs stay", extra={"action": "blobs.not_deleted", "folder": folder, "reason": str(error)})


def _prepared(cut: str, cuts: Cuts) -> Recording:
    duration_ms = milliseconds(cuts.duration)
    return Recording(cut=cut, duration_ms=duration_ms, language=cuts.language, windows=_LEFT * len(cuts.windows))


def _marked(recording: Recording, k: int, cuts: Cuts) -> Recording:
    """With window k done. Marked twice, it is the same."""
    windows = recording.windows[:k] + _DONE + recording.windows[k + 1 :]
    shares = shares_ms([window.end for window in cuts.windows], cuts.duration)
    done_ms = sum(share for share, mark in zip(shares, windows, strict=True) if mark == _DONE)
    return replace(recording, windows=windows, done_ms=done_ms)


def _completed(recording: Recording, cuts: Cuts) -> Recording:
    return replace(recording, status="completed", done_ms=milliseconds(cuts.duration))


def _fault(error: PieceFailed | RequestError) -> Fault:
    """Why a recording failed. Raises the error again when it is the blob store that is gone: that passes."""
    if isinstance(error, PieceFailed):
        return error.fault
    if error.code == "blob_store_down":
        raise error
    return fault_of(error)
