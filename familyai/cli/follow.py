"""A transcription job as it goes on, over lost connections and restarts of the front."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import msgspec

from familyai.cli.api import Api, ApiLost, decoded

JOBS = "/v1/transcription-jobs"
OVER = frozenset({"completed", "failed", "cancelled"})
FIRST_DELAY_S, LAST_DELAY_S = 0.5, 5.0
SILENCE_S = 45.0
"""Three of the front's heartbeats: whoever says nothing for so long is gone."""


class Trouble(msgspec.Struct, frozen=True):
    code: str
    message: str


class Progress(msgspec.Struct, frozen=True):
    done_s: float = 0.0
    total_s: float | None = None
    eta_s: float | None = None


class File(msgspec.Struct, frozen=True):
    """A recording of the job. `name` is what somebody called it; `results` says where each format is."""

    index: int
    name: str
    status: str
    duration_s: float | None = None
    done_s: float = 0.0
    error: Trouble | None = None
    results: dict[str, str] = {}

    @property
    def is_over(self) -> bool:
        return self.status in OVER


class Job(msgspec.Struct, frozen=True):
    """What of it the command line shows."""

    id: str
    status: str
    files: list[File]
    progress: Progress = Progress()
    error: Trouble | None = None

    @property
    def is_over(self) -> bool:
        return self.status in OVER


class _Change(msgspec.Struct, frozen=True):
    """An event's data: what it says of one file, or of the job."""

    progress: Progress
    status: str | None = None
    file: File | None = None


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    id: str
    data: str


def job_path(job_id: str) -> str:
    """Whatever somebody typed, it is one step of the path."""
    return f"{JOBS}/{quote(job_id, safe='')}"


def follow(api: Api, job_id: str, on_lost: Callable[[ApiLost], None]) -> Iterator[Job]:
    """The job as it is, again whenever something has changed, and a last time when it is over.

    Waits as long as it takes: what may pass is only told to `on_lost`. Raises ApiFailed for what will not.
    """
    last_id, delay_s = "", FIRST_DELAY_S
    while True:
        try:
            job = decoded(api.ask("GET", job_path(job_id)), Job)
            yield job
            if job.is_over:
                return
            for event in _events(api, f"{job_path(job_id)}/events", last_id):
                last_id, delay_s = event.id, FIRST_DELAY_S
                job = changed(job, event)
                if job.is_over:
                    break  # and is asked for once more, whole
                yield job
        except ApiLost as error:
            on_lost(error)
        time.sleep(delay_s)
        delay_s = min(LAST_DELAY_S, delay_s * 2)


def changed(job: Job, event: Event) -> Job:
    """With what the event says; one that is older than what is known, as after a reconnection, takes nothing back."""
    change = decoded(event.data.encode(), _Change)
    files = [_later(file, change.file) if change.file else file for file in job.files]
    progress = change.progress if change.progress.done_s >= job.progress.done_s else job.progress
    return msgspec.structs.replace(job, files=files, progress=progress, status=change.status or job.status)


def _later(known: File, told: File) -> File:
    if told.index != known.index:
        return known
    return max(known, told, key=_how_far)


def _how_far(file: File) -> tuple[bool, bool, bool, bool, float]:
    """It is `queued` before it is prepared, and again, now with a length, until its first window is heard."""
    is_prepared = file.duration_s is not None
    return file.is_over, file.status == "running", is_prepared, file.status == "preparing", file.done_s


def _events(api: Api, path: str, last_id: str) -> Iterator[Event]:
    headers = {"accept": "text/event-stream", **({"last-event-id": last_id} if last_id else {})}
    with api.answer("GET", path, headers=headers, timeout=httpx.Timeout(SILENCE_S)) as response:
        yield from parsed(response.iter_lines())


def parsed(lines: Iterable[str]) -> Iterator[Event]:
    """Server-sent events; comments and names are passed over: the data says it all."""
    event_id, data = "", list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id" and line:
            event_id = value
        elif field == "data":
            data.append(value)
        elif not line and data:
            yield Event(event_id, "\n".join(data))
            data = []
