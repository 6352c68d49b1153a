"""`familyai jobs`: what runs and waits, or with `--failed` what was set aside; never what was asked."""

import time

import msgspec

from familyai.cli import console
from familyai.cli.api import Api, decoded
from familyai.cli.console import out, printable
from familyai.settings import load_settings


class Job(msgspec.Struct, frozen=True):
    id: str
    state: str
    member: str
    queue: str
    attempt: int
    position: int | None
    created_at: float
    ended_at: float | None


class _Found(msgspec.Struct):
    data: list[Job]


def show(failed: bool) -> int:
    """Prints them; the exit code. Raises FamilyAIError."""
    with Api(load_settings()) as api:
        answer = api.ask("GET", "/v1/jobs", params={"set_aside": "true"} if failed else {})
    _print(decoded(answer, _Found).data, failed)
    return 0


def _print(jobs: list[Job], failed: bool) -> None:
    if not jobs:
        out.print("No request was set aside." if failed else "Nothing runs or waits.")
        return
    made = console.table("job", "queue", "member", "state", "begun", "since")
    for job in jobs:
        since_s = time.time() - (job.ended_at or job.created_at)
        begun = "once" if job.attempt == 1 else f"{job.attempt} times"
        made.add_row(job.id, job.queue, printable(job.member), _state(job), begun, console.duration(since_s))
    out.print(made)
    if failed:
        out.print("Their workers died one after another: `familyai status` and the workers' logs say of what.")


def _state(job: Job) -> str:
    return f"{job.state}, number {job.position}" if job.position else job.state
