"""What one front process holds: the household's profile, its connections, and what runs beside the requests."""

import asyncio
import logging
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request
from redis.asyncio import Redis

from api.caretaker import Caretaker
from api.erase import Eraser
from api.follow import Followers
from api.gate import Gate
from api.housekeeping import Housekeeping
from api.line import Lines
from api.metrics import Metrics
from api.orphans import Orphans
from api.replies import Reply, ReplyHub
from api.router import Router
from api.signing import load_secret
from api.sweep import Sweeper
from api.watch import Watch
from api.withdraw import Withdrawals
from familyai import cancel
from familyai.batches import BatchStore
from familyai.blobs import BlobStore
from familyai.broker import connect, connect_alone
from familyai.catalogue import Profile
from familyai.errors import Unavailable
from familyai.feedback import FeedbackStore
from familyai.files import FileStore
from familyai.job_log import JobLog
from familyai.jobs import JobStore
from familyai.members import MemberStore
from familyai.registry import FrontRegistry, WorkerRegistry
from familyai.service import ServiceStore
from familyai.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Front:
    """Everything a request needs. It holds no state of its own: that lives in the broker and in `replies`."""

    id: str
    profile: Profile
    redis: Redis
    pulse: Redis
    jobs: JobStore
    logs: JobLog
    registry: WorkerRegistry
    members: MemberStore
    files: FileStore
    batches: BatchStore
    feedback: FeedbackStore
    blobs: BlobStore
    replies: ReplyHub
    followers: Followers
    withdrawals: Withdrawals
    watch: Watch
    orphans: Orphans
    gate: Gate
    lines: Lines
    router: Router
    sweeper: Sweeper
    housekeeping: Housekeeping
    eraser: Eraser
    metrics: Metrics
    webhook_secret: str = field(repr=False)
    broker_url: str = field(repr=False)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens for replies and watches over them until the block ends. Does not wait for the broker."""
        listening = (self.replies.subscription.run(), self.followers.run())
        watching = (self.watch.run(), self.orphans.beat(), self.orphans.run())
        vital = [asyncio.create_task(work) for work in (*listening, *watching)]
        for task in vital:
            task.add_done_callback(self._outlive)
        beside = (self.sweeper.run(), self.housekeeping.run(), self.eraser.run())
        tasks = [*vital, *map(asyncio.create_task, beside)]
        try:
            yield
        finally:
            await self.withdrawals.finish()
            await cancel.end(tasks)
            await self.orphans.leave()
            await self.pulse.aclose()
            await self.redis.aclose()

    def close(self, reply: Reply) -> None:
        """Nobody waits for this answer any more."""
        self.replies.close(reply)
        self.followers.drop(reply)

    def _outlive(self, task: asyncio.Task[None]) -> None:
        """A front that hears no replies, or watches none, would only seem to live: it ends, and is started again."""
        if task.cancelled():
            return
        log.critical("a front cannot go on", exc_info=task.exception(), extra={"action": "front.broken"})
        self.replies.fail_all(Unavailable("this server starts again", code="restarting", retry_after_s=5))
        end_process()


def end_process() -> None:
    """As its supervisor would."""
    signal.raise_signal(signal.SIGTERM)


def build_front(settings: Settings, profile: Profile) -> Front:
    """Connects nothing yet. Raises ConfigurationError for a secret that is none."""
    url = settings.broker_url.get_secret_value()
    redis = connect(url)
    front_id = f"front-{secrets.token_hex(8)}"
    limits = profile.limits
    jobs, registry = JobStore(redis, limits.record_ttl_s, limits.waiting), WorkerRegistry(redis)
    service = ServiceStore(redis)
    blobs = BlobStore(settings.blobs, limits.disk_reserve_gb)
    withdrawals = Withdrawals(jobs, blobs, limits.record_ttl_s)
    logs = JobLog(redis, limits.replay_s)
    followers = Followers(logs)
    replies = ReplyHub(url, front_id, on_stray=withdrawals.add, on_missed=followers.add)
    caretaker = Caretaker(jobs, logs, followers, withdrawals, limits.queue_wait_s)
    pulse = connect_alone(url)  # no burst of requests may hold up a beat
    return Front(
        id=front_id,
        profile=profile,
        redis=redis,
        pulse=pulse,
        jobs=jobs,
        logs=logs,
        registry=registry,
        members=MemberStore(redis, profile),
        files=FileStore(redis),
        batches=BatchStore(redis, limits.retention_h * 3600),
        feedback=FeedbackStore(redis),
        blobs=blobs,
        replies=replies,
        followers=followers,
        withdrawals=withdrawals,
        watch=Watch(
            replies,
            followers,
            withdrawals,
            jobs,
            registry,
            caretaker,
            no_worker_wait_s=limits.no_worker_wait_s,
            broker_wait_s=limits.broker_wait_s,
        ),
        orphans=Orphans(front_id, FrontRegistry(pulse), withdrawals, jobs, service, registry, profile.models),
        gate=Gate(redis, profile),
        lines=Lines(service, registry, profile),
        router=Router(redis, registry, profile),
        sweeper=Sweeper(blobs, redis, limits.record_ttl_s),
        housekeeping=Housekeeping(service, registry, profile),
        eraser=Eraser(redis, limits.aof_rewrite_s),
        metrics=Metrics(),
        broker_url=url,
        webhook_secret=load_secret(settings) if limits.webhook_hosts else "",
    )


async def current_front(request: Request) -> Front:
    return cast(Front, request.app.state.front)


CurrentFront = Annotated[Front, Depends(current_front)]
