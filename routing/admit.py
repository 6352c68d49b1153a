"""Whether a request may enter. Pure: each check takes values and raises BadRequest that names the parameter.

1. The model can do what the endpoint asks.
2. Nothing that only works in one process's memory, or that would jump the queue.
3. No URL that would make an engine call out, and no image for a model that sees none.
4. No schema or pattern that would stall an engine.
5. Not wider than one request may be.
"""

from typing import Any

from familyai.catalogue import Profile, Task
from familyai.errors import BadRequest
from familyai.limits import Limits
from routing.conversation import read
from routing.grammar import check_grammar
from routing.resolve import Target
from routing.urls import check_urls
from routing.width import count, embedding_width, generation_width

_NOT_KEPT = "nothing is kept between requests: send the whole conversation as `input`"
_REFUSED = {
    "use_beam_search": "beam search is not offered: it takes many times the memory of a sampled answer",
    "priority": "the household decides who goes first: leave `priority` out",
    "background": "answers are not kept for later: ask with `stream`, or wait for the answer",
    "previous_response_id": _NOT_KEPT,
    "conversation": _NOT_KEPT,
}


def admit(body: dict[str, Any], task: Task, target: Target, profile: Profile) -> int:
    """The request's width. Raises BadRequest."""
    check_task(task, target, profile)
    check_refused(body)
    check_urls(body, profile.limits.media_domains)
    check_images(body, target, profile)
    check_grammar(body)
    return check_width(body, task, profile.limits)


def check_task(task: Task, target: Target, profile: Profile) -> None:
    if task in target.model.tasks:
        return
    able = [name for name in profile.queues if task in profile.model(name).tasks]
    advice = f"these can: {', '.join(able)}" if able else "no model of this household can"
    raise BadRequest(f"'{target.queue}' cannot {task}; {advice}", param="model", code="unsupported_task")


def check_images(body: dict[str, Any], target: Target, profile: Profile) -> None:
    if target.model.sees_images or not read(body).has_image:
        return
    able = [name for name in profile.queues if profile.model(name).sees_images]
    advice = f"these do: {', '.join(able)}" if able else "no model of this household does"
    raise BadRequest(f"'{target.queue}' sees no images; {advice}", param="messages", code="image_not_supported")


def check_refused(body: dict[str, Any]) -> None:
    """A parameter that is null, false or zero asks for nothing, and passes."""
    for name, reason in _REFUSED.items():
        if body.get(name):
            raise BadRequest(reason, param=name, code="unsupported_parameter")


def passed_on(body: dict[str, Any]) -> dict[str, Any]:
    """The body without what the engine must not read otherwise than we did. Its `request_id` is the job's id."""
    return {name: value for name, value in body.items() if name not in _REFUSED and name != "request_id"}


def check_width(body: dict[str, Any], task: Task, limits: Limits) -> int:
    width = embedding_width(body) if task is Task.EMBED else generation_width(body)
    if width > limits.width:
        raise BadRequest(
            f"this request is {width} wide (n x prompts, or inputs / 32), and one may be {limits.width}: split it",
            param=widest(body, task, limits.width),
            code="too_wide",
        )
    return width


def widest(body: dict[str, Any], task: Task, most: int) -> str:
    """What makes a request wider than that."""
    if task is Task.EMBED:
        return "input"
    return next((name for name in ("n", "best_of") if count(body.get(name)) > most), "prompt")
