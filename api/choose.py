"""From a body to a job: the router decides which queue it is for, and the rules whether it may be one at all."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, TypeVar

from api.broker import broker_errors
from api.front import Front
from api.gate import check_width
from api.router import talk_before, talk_now
from api.standing import with_standing
from api.submit import json_job
from api.wishes import Wishes
from familyai.catalogue import Task
from familyai.job import Job
from familyai.lanes import Priority
from familyai.members import Member
from routing.admit import admit
from routing.conversation import Conversation, read
from routing.decide import NAMED, Decision, decide
from routing.estimate import estimate
from routing.place import NOTHING_KNOWN, Moment
from routing.ration import rationed
from routing.resolve import route_named
from routing.side_tasks import is_side_task

Given = ParamSpec("Given")
Made = TypeVar("Made")

Check = Callable[[dict[str, Any]], None]
"""Refuses what an endpoint's bodies must not be."""


def anything(body: dict[str, Any]) -> None:
    """Refuses nothing."""


@dataclass(frozen=True)
class Asked:
    """A request, read. `is_large`: it is looked at beside the loop, on which everybody's answers travel."""

    path: str
    member: Member
    body: dict[str, Any] = field(repr=False)
    task: Task = Task.GENERATE
    check: Check = anything
    wishes: Wishes = Wishes()  # noqa: RUF009 (frozen)
    accept: str = "*/*"
    is_large: bool = False


async def choose(front: Front, asked: Asked) -> tuple[Job, Decision]:
    """The job, for the best queue that can begin it in time. Raises RequestError."""
    conversation = await aside(asked, read, asked.body)
    with broker_errors():
        tokens_left = await front.gate.tokens_left(asked.member)
    moment = await moment_of(front, asked, conversation)
    while True:
        job, decision = await aside(asked, _admitted, front, asked, conversation, moment, tokens_left)
        if not decision.fallbacks or await _begins_in_time(front, job, asked.member, moment):
            break
        moment = replace(moment, late=moment.late | {job.queue})
    is_talk = job.priority is not Priority.BATCH and not asked.path.endswith("/count_tokens")
    if decision.kind != NAMED and is_talk:
        talk = await aside(asked, talk_now, conversation)
        await front.router.remember(asked.member.name, talk, decision.target.queue)
    front.metrics.routes.labels(decision.kind, decision.target.queue).inc()
    return job, decision


async def moment_of(front: Front, asked: Asked, conversation: Conversation) -> Moment:
    """Looked up only where a model is to be chosen."""
    if asked.task is not Task.GENERATE or route_named(asked.body.get("model"), front.profile) is None:
        return NOTHING_KNOWN
    return await front.router.moment(asked.member.name, await aside(asked, talk_before, conversation))


def decided(front: Front, asked: Asked, moment: Moment) -> Decision:
    """Raises RequestError."""
    allowance = asked.member.allowance(front.profile.roles)
    return decide(asked.body, front.profile, allowance, task=asked.task, moment=moment, prefer=asked.wishes.prefer)


def _admitted(
    front: Front, asked: Asked, conversation: Conversation, moment: Moment, tokens_left: int | None
) -> tuple[Job, Decision]:
    """With as long an answer as its member may have, at whatever hour. `tokens_left`: of their limits."""
    decision, body = decided(front, asked, moment), asked.body
    asked.check(body)
    allowance, target = asked.member.allowance(front.profile.roles), decision.target
    width = admit(body, asked.task, target, front.profile)
    check_width(allowance, width, body, asked.task)
    generates = not asked.path.endswith("/count_tokens")
    guess = estimate(body, asked.task, target.model, width, generates=generates)
    ration, held = rationed(body, asked.path, guess, allowance, target.model, width, tokens_left)
    job = json_job(
        front,
        asked.path,
        asked.member.name,
        target,
        ration,
        held,
        width=width,
        accept=asked.accept,
        priority=_priority(asked, conversation),
        deadline_s=asked.wishes.deadline_s,
    )
    return job, decision


def _priority(asked: Asked, conversation: Conversation) -> Priority:
    """A chat UI's side task lets everybody's questions go first."""
    if asked.wishes.priority is Priority.INTERACTIVE and is_side_task(asked.body, conversation):
        return Priority.BACKGROUND
    return asked.wishes.priority


async def _begins_in_time(front: Front, job: Job, member: Member, moment: Moment) -> bool:
    """Batch work has time, and where every queue is late the best is as good as any."""
    if job.priority is Priority.BATCH or job.queue in moment.late:
        return True
    with broker_errors():
        job = await with_standing(front, job, member)
    return await front.lines.in_time(job)


async def aside(asked: Asked, work: Callable[Given, Made], *args: Given.args, **more: Given.kwargs) -> Made:
    """What takes long with a large request, without holding up the loop."""
    return await asyncio.to_thread(work, *args, **more) if asked.is_large else work(*args, **more)
