"""Lanes: the Celery queues of one model, one for each member and priority. Pure.

A lane's number is its member's, the same in every model; Flower shows `chat-fast.03`, `chat-fast.03.batch`. Members who
came after the last free number share lanes: each holds a hand of several (shuffle sharding, as in Kubernetes' API
Priority and Fairness), so two of them rarely meet in all.
"""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache

import msgspec


class Priority(StrEnum):
    """Who goes first, from first to last."""

    INTERACTIVE = "interactive"
    BACKGROUND = "background"
    BATCH = "batch"


class Lane(msgspec.Struct, frozen=True, array_like=True):
    """One Celery queue: of this model, for this number's members, at this priority."""

    queue: str
    number: int
    priority: Priority

    @property
    def name(self) -> str:
        """`chat-fast.03`; other priorities than interactive follow after a dot."""
        suffix = "" if self.priority is Priority.INTERACTIVE else f".{self.priority}"
        return f"{self.queue}.{self.number:02d}{suffix}"


def lanes(queue: str, count: int) -> list[Lane]:
    """All of a model's lanes, by priority, then by number."""
    return [Lane(queue, number, priority) for priority in Priority for number in range(count)]


@lru_cache(maxsize=4096)
def lane_named(name: str) -> Lane:
    """The reverse of `Lane.name`. Raises ValueError for a name that no lane has."""
    head, _, last = name.rpartition(".")
    priority = Priority(last) if not last.isdecimal() else Priority.INTERACTIVE
    queue, _, number = (head if priority is not Priority.INTERACTIVE else name).rpartition(".")
    lane = Lane(queue, int(number), priority)
    if not queue or lane.name != name:
        raise ValueError(f"'{name}' is no lane")
    return lane


def hand(member: str, count: int, size: int) -> list[int]:
    """The lanes that a member without one of their own may use: `size` different numbers below `count`.

    Always the same for the same name. Two members hold the same hand once in C(count, size) times.
    """
    left, dealt = list(range(count)), []
    entropy = int.from_bytes(hashlib.sha256(member.encode()).digest())
    for _ in range(min(size, count)):
        entropy, place = divmod(entropy, len(left))
        dealt.append(left.pop(place))
    return dealt


def first_free(taken: Iterable[int], count: int) -> int | None:
    """The lowest number that is nobody's, or None."""
    return next((number for number in range(count) if number not in set(taken)), None)
