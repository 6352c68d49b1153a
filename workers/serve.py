"""A job's stay in the worker: claimed, served by the engine, ended. What fails in it harms no other job."""

import asyncio
import logging
import uuid

from redis.asyncio import Redis

from familyai.blobs import BlobStore
from familyai.broker import BROKER_ERRORS
from familyai.errors import DecodeError
from familyai.jobs import Claim, JobStore, State
from workers import metrics
from workers.engines import Engine
from workers.exchange import Exchange
from workers.meter import current_meter
from workers.outbox import Outbox

log = logging.getLogger(__name__)

CLAIM_RETRY_S = 0.5


class Server:
    """Serves the jobs of one queue with one engine. All methods run on the engine's loop."""

    def __init__(self, queue: str, worker: str, redis: Redis, blobs: BlobStore, jobs: JobStore, engine: Engine) -> None:
        self._queue = queue
        self._worker = worker
        self._blobs = blobs
        self._jobs = jobs
        self._engine = engine
        self._running: dict[str, Exchange] = {}
        self._claiming: set[str] = set()
        self.outbox = Outbox(redis, on_gone=self.abandon)

    @property
    def running(self) -> list[str]:
        return list(self._running)

    def abandon(self, job_id: str) -> None:
        """Nobody waits for this answer any more: the engine hears of it at once. Unknown jobs are no error."""
        self._claiming.discard(job_id)
        exchange = self._running.get(job_id)
        if exchange is not None:
            exchange.leave()

    async def serve(self, job_id: str) -> None:
        """Runs one delivered job to its end. A job that is not ours to run (cancelled, ended, doubled) is dropped."""
        self._claiming.add(job_id)
        claim = await self._claim(job_id)
        if claim is None:
            self._claiming.discard(job_id)
            log.info("job dropped", extra={"action": "job.dropped", "job": job_id})
            return
        metrics.queue_wait.labels(self._queue).observe(claim.queue_wait_s)
        with metrics.running.labels(self._queue).track_inprogress():
            state = await self._answer(claim)
        metrics.jobs.labels(self._queue, state).inc()
        log.info("job ended", extra={"action": f"job.{state}", "job": job_id, "attempt": claim.attempt})
        await self._finish(claim, state)

    async def _claim(self, job_id: str) -> Claim | None:
        delivery = uuid.uuid4().hex  # a claim whose answer was lost is still ours when we ask again
        while True:
            try:
                return await self._jobs.claim(job_id, self._queue, self._worker, delivery)
            except DecodeError as error:
                log.error("job unreadable", extra={"action": "job.unreadable", "job": job_id, "reason": str(error)})
                return None
            except BROKER_ERRORS:
                await asyncio.sleep(CLAIM_RETRY_S)  # the broker holds the record; without it there is nothing to run

    async def _answer(self, claim: Claim) -> State:
        exchange = Exchange(claim, self._worker, lambda frame: self.outbox.put(claim.job.front, frame))
        self._running[claim.job.id] = exchange
        if claim.job.id not in self._claiming:
            exchange.leave()  # cancelled between the broker's claim and its answer
        self._claiming.discard(claim.job.id)
        try:
            await self._call_engine(claim, exchange)
        except Exception as error:
            log.exception("engine raised", extra={"action": "engine.raised", "job": claim.job.id})
            exchange.fail("engine_failed", f"The engine failed: {type(error).__name__}.")
            return State.FAILED
        finally:
            del self._running[claim.job.id]
            self._charge(exchange)
        if exchange.left:
            return State.CANCELLED
        if not exchange.ended:
            exchange.fail("engine_failed", "The engine stopped in the middle of its answer.")
            return State.FAILED
        return State.DONE

    async def _call_engine(self, claim: Claim, exchange: Exchange) -> None:
        job = claim.job
        exchange.request(await self._blobs.get(job.body_ref) if job.body_ref else job.body)
        current_meter.set(exchange.meter)
        await self._engine.app(exchange.scope(), exchange.receive, exchange.send)

    def _charge(self, exchange: Exchange) -> None:
        metrics.tokens.labels(self._queue, "prompt").inc(exchange.meter.prompt)
        metrics.tokens.labels(self._queue, "generated").inc(exchange.meter.generated)

    async def _finish(self, claim: Claim, state: State) -> None:
        try:
            await self._jobs.finish(claim.job.id, claim.attempt, state)
            if claim.job.body_ref:
                await self._blobs.delete(claim.job.body_ref)
        except BROKER_ERRORS as error:
            log.warning(
                "end not recorded", extra={"action": "job.unrecorded", "job": claim.job.id, "reason": str(error)}
            )
