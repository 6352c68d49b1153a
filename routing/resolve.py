"""Which queue a requested model name means. Pure: a name and a profile in, a target out."""

from dataclasses import dataclass
from typing import Any

from familyai.allowance import Allowance
from familyai.catalogue import Model, Profile, Route, Task
from familyai.errors import BadRequest, Forbidden, NotFound

SHOWN = 128
"""Characters of an unknown name that the refusal repeats."""


@dataclass(frozen=True)
class Target:
    """Where a request goes: the queue it asked for, the physical queue that serves it, and that queue's model."""

    queue: str
    physical: str
    model: Model


def resolve(name: Any, profile: Profile, task: Task = Task.GENERATE) -> Target:
    """A queue's name, an alias, or a model's own id, in that order. A route means the first queue that can do the task,
    where there is nothing to tell apart.

    Raises BadRequest when there is no name, NotFound that lists the names there are.
    """
    name = name or default_name(task, profile)
    if not isinstance(name, str):
        raise BadRequest("name a model: `model` must be a string", param="model", code="missing_model")
    queue = _any_queue(task, profile) if route_named(name, profile) else _queue(name, profile)
    if queue is None:
        known = ", ".join(names(profile))
        raise NotFound(
            f"there is no model '{name[:SHOWN]}'; you can use: {known}", param="model", code="model_not_found"
        )
    return target(queue, profile)


def target(queue: str, profile: Profile) -> Target:
    """Of a queue's name. Raises KeyError."""
    return Target(queue, profile.physical(queue), profile.model(queue))


def route_named(name: Any, profile: Profile) -> Route | None:
    """The route of that name or alias; None for a model that is named."""
    if not isinstance(name, str):
        return None
    return profile.routes.get(profile.aliases.get(name, name))


def default_queue(task: Task, profile: Profile) -> str | None:
    """The first that can be asked for it."""
    return next((queue for queue in profile.queues if task in profile.model(queue).tasks), None)


def _any_queue(task: Task, profile: Profile) -> str:
    """Where none can be asked for it, the first, which then refuses."""
    return default_queue(task, profile) or next(iter(profile.queues))


def default_name(task: Task, profile: Profile) -> str | None:
    """What a request without a model means: for speech the first queue, as there is rarely another; else nothing."""
    return default_queue(task, profile) if task in (Task.TRANSCRIBE, Task.SPEAK) else None


def names(profile: Profile) -> list[str]:
    """Every name that resolves and is worth showing: routes first, since `auto` is the one to try."""
    return [*profile.routes, *profile.aliases, *profile.queues]


def may_use(allowance: Allowance, target: Target) -> bool:
    """A model is theirs by the name they ask for, or by the queue that serves it."""
    return allowance.models is None or target.queue in allowance.models or target.physical in allowance.models


def check_model(allowance: Allowance, target: Target) -> None:
    """Raises Forbidden that names the models they may use."""
    if not may_use(allowance, target):
        raise not_theirs(allowance, target.queue)


def not_theirs(allowance: Allowance, queue: str) -> Forbidden:
    theirs = ", ".join(allowance.models or ()) or "none"
    words = f"You may not use '{queue}'. You can use: {theirs}."
    return Forbidden(words, param="model", code="model_not_allowed")


def _queue(name: str, profile: Profile) -> str | None:
    queue = profile.aliases.get(name, name)
    if queue in profile.queues:
        return queue
    return next((queue for queue, model in profile.models.items() if model.model == name), None)
