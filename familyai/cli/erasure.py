"""The last thing before the broker stops: what is over by then leaves its disk, and so do the answers that somebody
might have come back for."""

from dataclasses import dataclass, field

from familyai import append_only
from familyai.broker import BROKER_ERRORS, connect
from familyai.job_log import JobLog


@dataclass(frozen=True)
class Erasure:
    """Called once everybody else has stopped; returns when the append-only file has been written anew. Never raises."""

    broker_url: str = field(repr=False)

    async def __call__(self) -> None:
        redis = connect(self.broker_url)
        try:
            await JobLog(redis, kept_s=0).forget_all()
            await append_only.rewritten(redis)
        except BROKER_ERRORS as error:
            append_only.warn(type(error).__name__)
        finally:
            await redis.aclose()
