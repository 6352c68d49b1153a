"""Which queue a requested model name means. Pure: a name and a profile in, a target out."""

from dataclasses import dataclass
from typing import Any

from familyai.catalogue import Model, Profile, Task
from familyai.errors import BadRequest, NotFound

SHOWN = 128
"""Characters of an unknown name that the refusal repeats."""


@dataclass(frozen=True)
class Target:
    """Where a request goes: the queue it asked for, the physical queue that serves it, and that queue's model."""

    queue: str
    physical: str
    model: Model


def resolve(name: Any, profile: Profile) -> Target:
    """A queue's name, an alias, or a model's own id, in that order.

    Raises BadRequest when there is no name, NotFound that lists the names there are.
    """
    if not isinstance(name, str) or not name:
        raise BadRequest("name a model: `model` must be a string", param="model", code="missing_model")
    queue = _queue(name, profile)
    if queue is None:
        known = ", ".join(names(profile))
        raise NotFound(
            f"there is no model '{name[:SHOWN]}'; you can use: {known}", param="model", code="model_not_found"
        )
    return Target(queue, profile.physical(queue), profile.model(queue))


def default_name(task: Task, profile: Profile) -> str | None:
    """What a request without a model means: for speech the first queue, as there is rarely another; else nothing."""
    if task not in (Task.TRANSCRIBE, Task.SPEAK):
        return None
    return next((queue for queue in profile.queues if task in profile.model(queue).tasks), None)


def names(profile: Profile) -> list[str]:
    """Every name that resolves and is worth showing: aliases first, since `auto` is the one to try."""
    return [*profile.aliases, *profile.queues]


def _queue(name: str, profile: Profile) -> str | None:
    if name in profile.queues:
        return name
    if name in profile.aliases:
        return profile.aliases[name]
    return next((queue for queue, model in profile.models.items() if model.model == name), None)
