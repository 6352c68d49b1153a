"""`familyai queue`: each model's line as a picture, with what of it is one's own; an admin's key shows everybody's."""

import math
import time
from collections.abc import Sequence
from typing import NoReturn

import msgspec
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from familyai.cli import console
from familyai.cli.api import Api, ApiLost, decoded
from familyai.cli.console import out, printable
from familyai.settings import load_settings

INTERVAL_S = 1.0
WIDEST = 40
MOST_NAMED = 10
INTERRUPTED = 130
OWN, OTHERS, FREE = "bold cyan", "yellow", "dim"


class Running(msgspec.Struct, frozen=True):
    member: str
    running_s: float


class Waiting(msgspec.Struct, frozen=True):
    member: str
    position: int
    others_ahead: int
    eta_s: float | None


class Queue(msgspec.Struct, frozen=True):
    """As `GET /v1/queue` tells it: the jobs are those whose names we may see."""

    id: str
    model: str
    workers: int
    slots: int
    seconds_per_job: float | None
    running: int
    waiting: int
    running_jobs: list[Running]
    waiting_jobs: list[Waiting]


class Found(msgspec.Struct):
    data: list[Queue]


def show(watch: bool) -> int:
    """Prints the lines; `watch`, on a terminal: over and over, until Ctrl-C. Raises FamilyAIError."""
    with Api(load_settings()) as api:
        if not (watch and out.is_terminal):
            out.print(picture(_ask(api)))
            return 0
        try:
            with Live(picture(_ask(api)), console=out, auto_refresh=False) as live:
                _refresh(api, live)
        except KeyboardInterrupt:
            return INTERRUPTED


def picture(queues: Sequence[Queue]) -> RenderableType:
    """Every model's line, and below it who is in it."""
    return Group(*(line for queue in queues for line in _one(queue)))


def bar(queue: Queue) -> Text:
    """A square for each place, and a dot for each who waits, first to be served first. Large ones are cut."""
    named, free = len(queue.running_jobs), max(0, queue.slots - queue.running)
    own = {job.position for job in queue.waiting_jobs}
    squares = [("■", OWN)] * named + [("■", OTHERS)] * (queue.running - named) + [("□", FREE)] * free
    dots = [("●", OWN if place in own else OTHERS) for place in range(1, queue.waiting + 1)]
    return Text.assemble(*_cut(squares), "  " if dots else "", *_cut(dots))


def _ask(api: Api) -> list[Queue]:
    return decoded(api.ask("GET", "/v1/queue"), Found).data


def _refresh(api: Api, live: Live) -> NoReturn:
    while True:
        time.sleep(INTERVAL_S)
        try:
            live.update(picture(_ask(api)), refresh=True)
        except ApiLost as error:  # a front comes back
            live.update(Text(str(error), "yellow"), refresh=True)


def _one(queue: Queue) -> list[Text]:
    pace = f", about {_about(queue.seconds_per_job)} each" if queue.seconds_per_job is not None else ""
    head = Text.assemble((queue.id, "bold"), f"  {queue.model}{pace}")
    counts = f"  {queue.running} of {queue.slots} running, {queue.waiting} waiting"
    line = Text("  ") + bar(queue) + Text(counts if queue.workers else "  no worker: nothing starts", "dim")
    words = [_runs(job) for job in queue.running_jobs] + [_waits(job) for job in queue.waiting_jobs]
    more = [f"and {len(words) - MOST_NAMED} more"] if len(words) > MOST_NAMED else []
    return [head, line, *(Text(f"  {printable(said)}") for said in [*words[:MOST_NAMED], *more]), Text()]


def _runs(job: Running) -> str:
    return f"{job.member}: running for {console.duration(job.running_s)}"


def _waits(job: Waiting) -> str:
    others = f", {job.others_ahead} of others before" if job.others_ahead else ""
    when = "" if job.eta_s is None else f", starts in about {_about(job.eta_s)}"
    return f"{job.member}: number {job.position} in line{others}{when}"


def _about(seconds: float) -> str:
    return console.duration(max(1, math.ceil(seconds)))


def _cut(symbols: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return symbols if len(symbols) <= WIDEST else [*symbols[:WIDEST], ("…", FREE)]
