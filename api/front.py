"""What one front process holds: the household's profile, its connections, and what runs beside the requests."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from redis.asyncio import Redis

from api.metrics import Metrics
from api.replies import ReplyHub
from api.watch import Watch
from familyai.blobs import BlobStore
from familyai.broker import connect
from familyai.catalogue import Profile
from familyai.jobs import JobStore
from familyai.members import MemberStore
from familyai.registry import WorkerRegistry
from familyai.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Front:
    """Everything a request needs. It holds no state of its own: that lives in the broker and in `replies`."""

    id: str
    profile: Profile
    redis: Redis
    jobs: JobStore
    registry: WorkerRegistry
    members: MemberStore
    blobs: BlobStore
    replies: ReplyHub
    watch: Watch
    metrics: Metrics

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens for replies and watches over them until the block ends. Does not wait for the broker."""
        tasks = [asyncio.create_task(work) for work in (self.replies.subscription.run(), self.watch.run())]
        tasks.append(asyncio.create_task(self._drop_stale_blobs()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.redis.aclose()

    async def _drop_stale_blobs(self) -> None:
        """What a crash left behind: a body whose job's record has expired can never be asked for."""
        try:
            await self.blobs.delete_older_than(self.profile.limits.record_ttl_s)
        except OSError as error:
            log.warning("stale blobs stay", extra={"action": "blobs.not_swept", "reason": str(error)})


def build_front(settings: Settings, profile: Profile) -> Front:
    """Connects nothing yet."""
    url = settings.broker_url.get_secret_value()
    redis = connect(url)
    front_id = f"front-{secrets.token_hex(8)}"
    jobs, registry = JobStore(redis, profile.limits.record_ttl_s), WorkerRegistry(redis)
    replies = ReplyHub(url, front_id)
    return Front(
        id=front_id,
        profile=profile,
        redis=redis,
        jobs=jobs,
        registry=registry,
        members=MemberStore(redis),
        blobs=BlobStore(settings.blobs),
        replies=replies,
        watch=Watch(replies, jobs, registry, profile.limits),
        metrics=Metrics(),
    )


async def current_front(request: Request) -> Front:
    return cast(Front, request.app.state.front)


CurrentFront = Annotated[Front, Depends(current_front)]
