"""Writes the logs of the jobs that run here, a few times a second and all in one round trip.

Nothing waits for it but a job's end: what an engine says is published first. While the broker is away the frames
gather; when it is back, each log goes on where it ends there, also should the broker have forgotten the last that it
took.
"""

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress

from redis.exceptions import OutOfMemoryError

from familyai.broker import BROKER_ERRORS
from familyai.frame import Body, Frame
from familyai.job_log import Entry, JobLog, entry
from familyai.jobs import Claim

log = logging.getLogger(__name__)

INTERVAL_S = 0.15
RETRY_S = 0.5
REMEMBERED_S = 10.0
"""So long a written entry is remembered: a broker that is killed may have lost the last second or two."""
FRAME_BYTES = 60
"""What a frame takes besides its data, with the ids of its tokens."""


class Page:
    """The log of one job that runs here."""

    def __init__(self, claim: Claim, most_bytes: float) -> None:
        self.job_id = claim.job.id
        self._attempt = claim.attempt
        self._left_bytes = most_bytes
        self._end = 0
        self._frames: list[Frame] = []
        self._unwritten: list[Entry] = []
        self._written: deque[tuple[float, Entry]] = deque()
        self.is_cut = False
        self.is_settled = asyncio.Event()
        self.is_settled.set()

    def put(self, frame: Frame) -> None:
        if self.is_cut:
            return
        self._left_bytes -= FRAME_BYTES + (len(frame.data) if isinstance(frame, Body) else 0)
        self._frames.append(frame)
        self._end = frame.seq + 1
        self.is_settled.clear()
        if self.is_too_long:
            self._forget()

    @property
    def is_too_long(self) -> bool:
        return self._left_bytes < 0

    @property
    def last_word(self) -> Entry:
        """What is to be said of an answer that is not kept."""
        return Entry(self.job_id, self._attempt, self._end)

    def cut(self) -> None:
        """Nothing of it is kept from now on."""
        self.is_cut = True
        self._forget()
        self.is_settled.set()

    def _forget(self) -> None:
        self._frames, self._unwritten = [], []
        self._written.clear()

    def due(self) -> list[Entry]:
        if self._frames:
            self._unwritten.append(entry(tuple(self._frames)))
            self._frames = []
        return self._unwritten

    def written(self, now_s: float) -> None:
        """All that was due."""
        self._written += ((now_s, one) for one in self._unwritten)
        self._unwritten = []
        while self._written and self._written[0][0] < now_s - REMEMBERED_S:
            self._written.popleft()
        if not self._frames and not self.is_too_long:
            self.is_settled.set()

    def resume(self, attempt: int, end: int) -> None:
        """The broker has so much of the log: what it lacks is due again."""
        known = [*(one for _, one in self._written), *self._unwritten]
        self._written.clear()
        self._unwritten = [one for one in known if (one.attempt, one.end) > (attempt, end)]


class Logbook:
    """The pages of all jobs that run here. All methods run on the engine's loop."""

    def __init__(self, logs: JobLog, most_bytes: float) -> None:
        """`most_bytes`: of one job's answer; a longer one is not kept at all."""
        self._logs = logs
        self._most_bytes = most_bytes
        self._pages: dict[str, Page] = {}
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._unsure = False

    def open(self, claim: Claim) -> None:
        if claim.job.logged:
            self._pages[claim.job.id] = Page(claim, self._most_bytes)

    def put(self, frame: Frame) -> None:
        """Frames of jobs without a page are no error."""
        if (page := self._pages.get(frame.job_id)) is not None:
            page.put(frame)
            self._news.set()

    async def close(self, job_id: str) -> None:
        """Returns when the log is whole, or was given up; it waits for a broker that is away."""
        if (page := self._pages.get(job_id)) is not None:
            self._hurry.set()
            try:
                await page.is_settled.wait()
            finally:
                self._pages.pop(job_id, None)

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._write([page for page in self._pages.values() if not page.is_cut])
            except BROKER_ERRORS as error:
                self._unsure = True
                self._news.set()
                log.warning("logs wait", extra={"action": "log.unwritten", "reason": type(error).__name__})
                await asyncio.sleep(RETRY_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), INTERVAL_S)
            self._hurry.clear()

    async def _write(self, pages: list[Page]) -> None:
        if self._unsure and pages:
            for page, end in zip(pages, await self._logs.ends([page.job_id for page in pages]), strict=True):
                page.resume(*end)
        self._unsure = False
        for page in [page for page in pages if page.is_too_long]:
            await self._give_up(page)
        await self._append([page for page in pages if not page.is_cut])

    async def _append(self, pages: list[Page]) -> None:
        try:
            await self._logs.append([one for page in pages for one in page.due()])
        except OutOfMemoryError:  # nobody waits for room: the answers go on, and whoever missed some is told
            log.warning("a full broker", extra={"action": "log.no_room", "jobs": len(pages)})
            for page in pages:
                page.cut()
            return
        now_s = time.monotonic()
        for page in pages:
            page.written(now_s)

    async def _give_up(self, page: Page) -> None:
        log.warning("a long answer", extra={"action": "log.given_up", "job": page.job_id})
        await self._logs.give_up(page.last_word)
        page.cut()
