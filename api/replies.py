"""Answers on their way: one subscription per front process, its frames handed to whoever waits for them."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress

from api.broker import broker_down
from familyai import keys
from familyai.errors import Cancelled, DecodeError, EngineFailed, FamilyAIError, NotFound, Unavailable
from familyai.frame import NO_SEQ, Body, End, Failed, Frame, Start, decode_frames
from familyai.job import Job
from familyai.job_log import Logged
from familyai.past import Past
from familyai.subscription import Subscription

log = logging.getLogger(__name__)

MOST_UNREAD_BYTES = 256_000_000
"""Of all answers together that came faster than they are read; as spoken text, about nine hours."""
CHECK_EVERY_BYTES = 4_000_000
JUST_NOW_S = 1.0
"""A connection that broke and is made anew at once is no reason to refuse anybody."""
AT_ONCE_BYTES = 4_000_000
"""About so much of an answer is given to the server at once, which holds it until the client takes it."""


class Reply:
    """The frames of one job, in order and without a gap; or the reason why there are no more."""

    def __init__(
        self,
        job_id: str,
        queue: str,
        deadline_s: float = math.inf,
        *,
        continues: bool = False,
        is_guest: bool = False,
        on_missed: Callable[["Reply"], None] | None = None,
    ) -> None:
        """`continues`: should its worker die, another can go on at the token where it stopped. `is_guest`: the job is
        not this front's to look after. `on_missed` hears that frames were missed, and has them told by the log.
        """
        self.job_id = job_id
        self.queue = queue
        self.deadline_s = deadline_s
        self.is_guest = is_guest
        self.ended = False
        self.runs_on = False
        """Whether its job is not withdrawn when nobody waits here any more."""
        self._on_missed = on_missed
        self._continues = continues
        self._outputs: list[tuple[int, ...]] = []
        self.unread_bytes = 0
        self._attempt = 0
        self._seq = 0
        self._frames: list[Frame] = []
        self._failure: FamilyAIError | None = None
        self._news = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is put: it is here to its end, or has failed."""
        return self.ended or self._failure is not None

    @property
    def is_logged(self) -> bool:
        return self._on_missed is not None

    @property
    def position(self) -> tuple[int, int]:
        """The attempt that is listened to, and how many frames are here."""
        return self._attempt, self._seq

    def hear(self, logged: Logged) -> None:
        """What the job's log says further."""
        for frame in logged.frames:
            self.put(frame, is_logged=True)
        if logged.is_cut:
            self.fail(NotFound("the answer is too long to be told again", code="answer_not_kept"))

    def put(self, frame: Frame, *, is_logged: bool = False) -> None:
        if self.is_over:
            return
        if isinstance(frame, Failed) and frame.seq == NO_SEQ:
            self.fail(_word_of(frame))
            return
        self._attempt = max(self._attempt, frame.attempt)  # a later one says everything again
        if self._is_past(frame):
            return
        if not self._is_next(frame):
            self.miss(is_lost=is_logged)
            return
        self._seq += 1
        self.ended = isinstance(frame, End | Failed)
        if isinstance(frame, Failed):
            self.fail(EngineFailed(frame.message, code=frame.code))
        else:
            self._keep(frame)

    @property
    def past(self) -> Past | None:
        """What has arrived, for another attempt to go on from; None where none can."""
        says_nothing_yet = self._seq <= 1
        return Past(self._seq, tuple(self._outputs)) if says_nothing_yet or self._continues else None

    def miss(self, *, is_lost: bool = False) -> None:
        """Frames did not come. Unless they are lost for good, the log will tell them, where there is one."""
        if is_lost or self._on_missed is None:
            self.fail(Unavailable("a part of the answer was lost on its way", code="reply_lost", retry_after_s=1))
        else:
            self._on_missed(self)

    def go_on(self, attempt: int) -> None:
        """From now on this attempt is listened to, and no other."""
        self._attempt = attempt

    def fail(self, failure: FamilyAIError) -> None:
        """Frames that are here already are still handed out; then `frames` raises. The first failure counts."""
        self._failure = self._failure or failure
        self._news.set()

    def drop(self) -> None:
        """What is here is not handed out any more: it is more than can be kept for a client that does not read it."""
        self._frames, self.unread_bytes = [], 0
        self.fail(Unavailable("the answer was not read as fast as it came", code="not_read"))

    async def news(self, within_s: float) -> bool:
        """Waits for frames, or a failure, so long at most; whether `frames` has any at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()
        return self._news.is_set()

    async def frames(self) -> list[Frame]:
        """Frames that came since the last call, waiting for one. Raises the failure when no more will come."""
        await self._news.wait()
        frames = self._some()
        if self._failure is None and not self._frames:
            self._news.clear()
        elif self._failure is not None and not frames:
            raise self._failure
        return frames

    def _some(self) -> list[Frame]:
        """All of them, or the first that are `AT_ONCE_BYTES` together."""
        size_bytes = count = 0
        for frame in self._frames:
            size_bytes, count = size_bytes + _size_bytes(frame), count + 1
            if size_bytes >= AT_ONCE_BYTES:
                break
        some, self._frames = self._frames[:count], self._frames[count:]
        self.unread_bytes -= size_bytes
        return some

    def _keep(self, frame: Frame) -> None:
        if self._continues and isinstance(frame, Body) and frame.tokens:
            self._outputs += frame.tokens.outputs
        self._frames.append(frame)
        self.unread_bytes += _size_bytes(frame)
        self._news.set()

    def _is_past(self, frame: Frame) -> bool:
        """A worker that hears no answer to its PUBLISH says it again, though it may have been heard; one that was taken
        for dead may go on for a while."""
        return frame.attempt < self._attempt or frame.seq < self._seq

    def _is_next(self, frame: Frame) -> bool:
        return frame.seq == self._seq and (isinstance(frame, Failed) or isinstance(frame, Start) == (frame.seq == 0))


class ReplyHub:
    """All open replies of this process. Nothing here blocks: frames are put where their readers find them."""

    def __init__(
        self, url: str, front_id: str, on_stray: Callable[[str], None], on_missed: Callable[[Reply], None]
    ) -> None:
        """`on_stray` hears of jobs that answer though nobody waits for them, or nobody reads it; `on_missed` of replies
        that are to be told by their jobs' logs.
        """
        self.subscription = Subscription(url, keys.reply(front_id), self.hear, on_lost=self.miss_all)
        self._on_stray = on_stray
        self._on_missed = on_missed
        self._open: dict[str, Reply] = {}
        self._guests: set[Reply] = set()
        self.unrecorded: dict[str, Reply] = {}
        """Answers that came to their end here, as long as their jobs' records may not say so."""
        self._unchecked_bytes = 0

    def check_connected(self) -> None:
        """Raises Unavailable while no frame could be heard, unless the connection has broken just now."""
        if not self.subscription.connected.is_set() and time.monotonic() - self.subscription.lost_at_s > JUST_NOW_S:
            raise broker_down()

    def open(self, job: Job) -> Reply:
        """To be opened before the job is sent, and closed whatever happens. Raises Unavailable."""
        self.check_connected()
        if job.is_detached:
            return self.follow(job.id, job.queue, job.deadline_s)
        missed = self._on_missed if job.logged else None
        reply = Reply(job.id, job.queue, job.deadline_s, continues=job.continues, on_missed=missed)
        self._open[job.id] = reply
        if not self.subscription.connected.is_set():
            self._miss(reply)
        return reply

    def follow(self, job_id: str, queue: str, deadline_s: float = math.inf) -> Reply:
        """The reply to a job that is not this front's, from its first frame. To be closed as well."""
        reply = Reply(job_id, queue, deadline_s, is_guest=True)
        self._guests.add(reply)
        self._on_missed(reply)
        return reply

    def close(self, reply: Reply) -> None:
        if reply.is_guest:
            self._guests.discard(reply)
        elif self._open.pop(reply.job_id, None) is not None and reply.ended:
            self.unrecorded[reply.job_id] = reply

    def all(self) -> list[Reply]:
        return [*self._open.values(), *self._guests]

    def miss_all(self) -> None:
        """The broker was away, and with it what was said meanwhile."""
        for reply in self._open.values():
            self._miss(reply)

    def _miss(self, reply: Reply) -> None:
        if reply.is_logged:
            reply.miss()
        else:
            reply.fail(broker_down())

    def fail_all(self, failure: FamilyAIError) -> None:
        """Every open answer ends with this."""
        for reply in self.all():
            reply.fail(failure)

    def hear(self, message: bytes) -> None:
        """One message of frames."""
        try:
            frames = decode_frames(message)
        except DecodeError as error:  # whose frames they were nobody knows; their replies will notice the gap
            log.error("frames cannot be read", extra={"action": "frames.unreadable", "reason": str(error)})
            return
        for frame in frames:
            if (reply := self._open.get(frame.job_id)) is not None:
                reply.put(frame)
            elif isinstance(frame, Start):
                self._on_stray(frame.job_id)
        self._unchecked_bytes += len(message)
        if self._unchecked_bytes >= CHECK_EVERY_BYTES:
            self._unchecked_bytes = 0
            self._make_room()

    def _make_room(self) -> None:
        """Whoever is furthest behind goes, so that a client that never reads is no danger to all others."""
        while sum(reply.unread_bytes for reply in self._open.values()) > MOST_UNREAD_BYTES:
            furthest = max(self._open.values(), key=lambda reply: reply.unread_bytes)
            log.warning("an answer is not read", extra={"action": "answer.not_read", "job": furthest.job_id})
            furthest.drop()
            self._on_stray(furthest.job_id)


def _word_of(frame: Failed) -> FamilyAIError:
    """What no worker said."""
    return (Cancelled if frame.code == "cancelled" else EngineFailed)(frame.message, code=frame.code)


def _size_bytes(frame: Frame) -> int:
    return len(frame.data) if isinstance(frame, Body) else 0
