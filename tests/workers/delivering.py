"""A worker's parts without Celery: deliveries that arrive as Celery reports them."""

from collections.abc import Callable

from redis.asyncio import Redis
from starlette.types import ASGIApp

from familyai.blobs import BlobStore
from familyai.catalogue import Engine as EngineName
from familyai.catalogue import Fairness as FairnessOptions
from familyai.catalogue import Model
from familyai.fair import FairOrder
from familyai.job import Job
from familyai.job_log import JobLog
from familyai.jobs import Delivery, JobStore
from familyai.quota import Windows
from familyai.service import ServiceStore
from familyai.usage import UsageStore
from workers.accounts import Accounts
from workers.engines import Engine
from workers.fairness import Fairness, Waker
from workers.logbook import Logbook
from workers.serve import Server
from workers.turns import Turn, Turns

MODEL = Model(model="m", engine=EngineName.ECHO, memory_gb=0.1, slots=2, reserve_slots=1)


def turns_of(model: Model = MODEL) -> Turns:
    return Turns(FairOrder(model.slots, model.reserve_slots, FairnessOptions()))


def fairness_of(redis: Redis, turns: Turns) -> Fairness:
    return Fairness("q", "w", turns, ServiceStore(redis), Waker(redis, "w", turns))


def accounts_of(redis: Redis, model: Model = MODEL) -> Accounts:
    return Accounts(model, Windows(redis), UsageStore(redis, usage_days=2))


def arrived(turns: Turns, job: Job) -> Turn:
    """As when Celery has taken the job's message and is about to serve it."""
    turns.arrived("tag", job.lane, job.cost, job.weight, job.width)
    return turns.begin("tag")


class DrivenServer(Server):
    """A server that tests hand jobs to."""

    def __init__(self, redis: Redis, blobs: BlobStore, jobs: JobStore, app: ASGIApp, model: Model = MODEL) -> None:
        self.turns = turns_of(model)
        self.healthy: Callable[[], bool] = lambda: True
        self.logbook = Logbook(JobLog(redis, kept_s=60), most_bytes=1e6)
        engine, accounts = Engine(app, lambda: self.healthy()), accounts_of(redis, model)
        fairness = fairness_of(redis, self.turns)
        super().__init__("q", "w", redis, blobs, jobs, engine, fairness, accounts, self.logbook)

    async def take(self, job: Job) -> None:
        turn = arrived(self.turns, job)
        await self.serve(Delivery(job.id, job.lane, job.member, job.width, job.most_running, job.shares_lane), turn)
