"""A job's stay in the worker: claimed, served by the engine, ended. What fails in it harms no other job."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from weakref import WeakValueDictionary

import msgspec
from redis.asyncio import Redis

from familyai.blobs import BlobStore
from familyai.broker import BROKER_ERRORS
from familyai.errors import DecodeError
from familyai.frame import Frame
from familyai.job import Job, own_blob
from familyai.jobs import Claim, Delivery, Held, JobStore, State
from workers import at_hand, metrics
from workers.accounts import Accounts, Bill
from workers.at_hand import AtHand
from workers.engines import Engine
from workers.exchange import Emit, Exchange
from workers.fairness import Fairness
from workers.logbook import Logbook
from workers.meter import current_meter
from workers.outbox import Outbox
from workers.turns import Turn

log = logging.getLogger(__name__)

RETRY_S = 0.5
EARLY_CANCELS = 256


class Server:
    """Serves the jobs of one queue with one engine. All methods run on the engine's loop."""

    def __init__(
        self,
        queue: str,
        worker: str,
        wire: Redis,
        blobs: BlobStore,
        jobs: JobStore,
        engine: Engine,
        fairness: Fairness,
        accounts: Accounts,
        logbook: Logbook,
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._blobs = blobs
        self._jobs = jobs
        self._engine = engine
        self._fairness = fairness
        self._accounts = accounts
        self._logbook = logbook
        self._running: dict[str, Exchange] = {}
        self._in_hand: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._left_behind: set[str] = set()
        self._early: deque[str] = deque(maxlen=EARLY_CANCELS)
        self.taken = 0
        """How many deliveries there were so far: it grows as long as Celery takes jobs."""
        self.outbox = Outbox(wire)

    @property
    def running(self) -> dict[str, int]:
        """The attempt of each job."""
        return {job_id: exchange.attempt for job_id, exchange in self._running.items()}

    def abandon(self, job_id: str, attempt: int | None = None) -> None:
        """Nobody waits for this answer any more, or not for this attempt's: the engine hears of it at once. Unknown
        jobs are no error."""
        exchange = self._running.get(job_id)
        if exchange is not None and attempt in (None, exchange.attempt):
            exchange.leave()
        elif exchange is None and attempt is None:
            self._early.append(job_id)  # it may have overtaken the answer to our claim

    def leave_behind(self) -> None:
        """What still runs is broken off without a word, for a front to take it back and another worker to go on."""
        for job_id, exchange in self._running.items():
            if not exchange.left and not exchange.ended:
                self._left_behind.add(job_id)
                exchange.leave()

    async def serve(self, delivery: Delivery, turn: Turn) -> None:
        """Runs one delivered job to its end. A job that is not ours to run (cancelled, ended, doubled) is dropped."""
        self.taken += 1
        bill = self._accounts.open()
        with self._fairness.running(turn, lambda: bill.service):
            if turn.began:
                await self._serve(delivery, turn, bill)
            else:
                self._fairness.too_wide(turn)
                await self._put_back(delivery)

    async def _serve(self, delivery: Delivery, turn: Turn, bill: Bill) -> None:
        match await self._claim(delivery):
            case Claim() as claim:
                await self._run(claim, bill)
            case Held():
                self._fairness.hold(turn, is_shared=delivery.shares_lane)
                await self._put_back(delivery)
            case None:
                log.info("job dropped", extra={"action": "job.dropped", "job": delivery.job_id})

    async def _run(self, claim: Claim, bill: Bill) -> None:
        """A worker that seemed dead may have claimed its own job once more: the attempt before has to end first."""
        if claim.job.id in self._running:
            self._running[claim.job.id].leave()
        async with self._in_hand.setdefault(claim.job.id, asyncio.Lock()):
            await self._serve_claim(claim, bill)

    async def _serve_claim(self, claim: Claim, bill: Bill) -> None:
        began_s = time.monotonic()
        metrics.queue_wait.labels(self._queue).observe(claim.queue_wait_s)
        exchange = Exchange(claim, bill.meter, self._worker, self._send_to(claim.job.front))
        self._logbook.open(claim)
        with metrics.running.labels(self._queue).track_inprogress():
            state = await self._answer(claim, exchange)
        await self._logbook.close(claim.job.id)
        if state is None:
            log.error("job left behind", extra={"action": "job.left_behind", "job": claim.job.id})
            return
        metrics.jobs.labels(self._queue, state).inc()
        log.info("job ended", extra={"action": f"job.{state}", "job": claim.job.id, "attempt": claim.attempt})
        if state is State.CANCELLED:
            bill.assume(claim.job)
        await self._accounts.settle(claim.job, bill)
        tells_pace = state is State.DONE and exchange.succeeded
        await self._finish(claim, state, claim.job.width * (time.monotonic() - began_s) if tells_pace else 0.0)

    async def _claim(self, delivery: Delivery) -> Claim | Held | None:
        while True:
            try:
                return await self._jobs.claim(delivery, self._queue, self._worker)
            except DecodeError as error:
                extra = {"action": "job.unreadable", "job": delivery.job_id, "reason": str(error)}
                log.error("job unreadable", extra=extra)
                return None
            except BROKER_ERRORS:
                await asyncio.sleep(RETRY_S)  # the broker holds the record; without it there is nothing to run

    async def _put_back(self, delivery: Delivery) -> None:
        """At the head of its lane: it was its turn. Behind the others in a lane that it shares: it is not theirs."""
        while True:
            try:
                await self._jobs.push_again(delivery.job_id, at_head=not delivery.shares_lane)
            except DecodeError:
                log.error("job unreadable", extra={"action": "job.unreadable", "job": delivery.job_id})
            except BROKER_ERRORS:
                await asyncio.sleep(RETRY_S)
                continue
            return

    async def _answer(self, claim: Claim, exchange: Exchange) -> State | None:
        """None when the engine died over it, or it is left behind: a front takes it back, another worker goes on."""
        self._running[claim.job.id] = exchange
        if claim.job.id in self._early:
            exchange.leave()
        try:
            await self._call_engine(claim, exchange)
        except BaseException as error:  # a library's SystemExit or stray cancellation must not leave the client waiting
            log.exception("engine raised", extra={"action": "engine.raised", "job": claim.job.id})
            if self._is_broken_off(claim.job.id):
                return None
            exchange.fail("engine_failed", f"The engine failed: {type(error).__name__}.")
            return State.FAILED
        finally:
            self._running.pop(claim.job.id, None)
            self._charge(exchange)
        if exchange.left and claim.job.id not in self._left_behind:
            return State.CANCELLED
        if self._is_broken_off(claim.job.id):
            return None
        if not exchange.ended:
            exchange.fail("engine_failed", "The engine stopped in the middle of its answer.")
            return State.FAILED
        return State.FAILED if exchange.failed else State.DONE

    def _is_broken_off(self, job_id: str) -> bool:
        return job_id in self._left_behind or not self._engine.healthy()

    def _send_to(self, front: str) -> Emit:
        """To the front that waits, and into the job's log. What a dead engine says is not passed on: it would end an
        answer that another can continue."""

        def send(frame: Frame, *, is_known: bool) -> None:
            if not self._engine.healthy():
                return
            if front and not is_known:
                self.outbox.put(front, frame)
            self._logbook.put(frame)

        return send

    async def _call_engine(self, claim: Claim, exchange: Exchange) -> None:
        job = claim.job
        current_meter.set(exchange.meter)
        at_hand.current.set(AtHand(int(job.created_at_s), claim.past))
        async with aclosing(self._body(job)) as body:
            exchange.request(body)
            await self._engine.app(exchange.scope({"blobs": self._blobs}), exchange.receive, exchange.send)

    async def _body(self, job: Job) -> AsyncGenerator[bytes, None]:
        if job.body:
            yield job.body
        if job.blob:
            async for chunk in self._blobs.chunks(*msgspec.structs.astuple(job.blob)):
                yield chunk
        if job.tail:
            yield job.tail

    def _charge(self, exchange: Exchange) -> None:
        metrics.tokens.labels(self._queue, "prompt").inc(exchange.meter.prompt)
        metrics.tokens.labels(self._queue, "generated").inc(exchange.meter.generated)

    async def _finish(self, claim: Claim, state: State, busy_s: float) -> None:
        """Tried until it is recorded: else the job would count as running for as long as this worker lives."""
        while True:
            try:
                await self._jobs.finish(claim.job, claim.attempt, state, busy_s)
                break
            except BROKER_ERRORS as error:
                reason = type(error).__name__
                log.warning("not recorded", extra={"action": "job.unrecorded", "job": claim.job.id, "reason": reason})
                await asyncio.sleep(RETRY_S)
        if claim.job.blob and claim.job.blob.name == own_blob(claim.job.id):
            await self._forget(claim.job.blob.name)

    async def _forget(self, blob: str) -> None:
        try:
            await self._blobs.delete(blob)
        except OSError as error:
            reason = type(error).__name__
            log.warning("a body stays", extra={"action": "blob.not_deleted", "blob": blob, "reason": reason})
