"""A transcription job as clients see it: whole, and in the parts that its events carry. Pure."""

from typing import Literal

from pydantic import BaseModel, Field

from familyai.transcription import Event, FileStatus, Format, Record, Status
from routing.progress import progress

PATH = "/v1/transcription-jobs"

JobEventName = Literal["job.running", "job.completed", "job.failed", "job.cancelled"]
FileEventName = Literal["file.prepared", "file.progress", "file.completed", "file.failed"]
TERMINAL: dict[Status, JobEventName] = {
    "completed": "job.completed",
    "failed": "job.failed",
    "cancelled": "job.cancelled",
}


class Trouble(BaseModel):
    """What went wrong with one file, or with the whole job."""

    code: str = Field(description="For a program: `bad_audio`, `insufficient_storage`, `engine_failed`, ...")
    message: str = Field(description="For a person.")


class JobProgress(BaseModel):
    """In seconds of audio. What failed no longer counts as to be done."""

    done_s: float = Field(description="How much of the recordings is transcribed, their silence included.")
    total_s: float | None = Field(description="Length of all recordings; null until every one of them is prepared.")
    percent: float = Field(description="0 to 100; 0 while the total is unknown.")
    eta_s: float | None = Field(description="How long the rest will take at the present rate; null while unknown.")


class TranscriptionFile(BaseModel):
    """One recording of a job."""

    index: int = Field(description="Its place in the job, from 0.")
    name: str = Field(description="Its file name, as it came: data, not a path.")
    status: FileStatus
    duration_s: float | None = Field(description="Its length; null until it is prepared.")
    done_s: float = Field(description="How much of it is transcribed, its silence included.")
    language: str | None = Field(description="The language spoken in it; null while unknown, or if nobody speaks.")
    error: Trouble | None
    results: dict[Format, str] = Field(description="Where each format is, once the file is completed.")


class WebhookOutcome(BaseModel):
    """What became of the call at the job's end."""

    delivered_at: int | None
    tries: int
    error: str | None = Field(description="Why the last try failed, in a word.")


class TranscriptionJob(BaseModel):
    """A folder of recordings on its way to being text."""

    id: str
    object: Literal["transcription.job"] = "transcription.job"
    status: Status = Field(description="`completed` with some files failed says which; `failed`: all of them did.")
    created_at: int
    started_at: int | None
    ended_at: int | None
    expires_at: int | None = Field(description="When recordings and results are deleted; set when the job ends.")
    model: str
    language: str | None = Field(description="As it was asked for; null: recognised for each file.")
    formats: list[Format]
    word_timestamps: bool
    webhook_url: str | None
    webhook: WebhookOutcome | None = Field(description="Null while nobody was called.")
    files: list[TranscriptionFile]
    progress: JobProgress
    error: Trouble | None


class JobEvent(BaseModel):
    """What a job's own events carry: all of it but the files."""

    id: str
    object: Literal["transcription.job"] = "transcription.job"
    status: Status
    progress: JobProgress
    error: Trouble | None


class FileEvent(BaseModel):
    """What a file's events carry."""

    id: str
    object: Literal["transcription.job"] = "transcription.job"
    file: TranscriptionFile
    progress: JobProgress


class TranscriptionJobList(BaseModel):
    object: Literal["list"] = "list"
    data: list[TranscriptionJob]
    first_id: str | None
    last_id: str | None
    has_more: bool


class TranscriptionJobDeleted(BaseModel):
    id: str
    object: Literal["transcription.job.deleted"] = "transcription.job.deleted"
    deleted: bool = True


def shown(record: Record, now_s: float) -> TranscriptionJob:
    order = record.order
    return TranscriptionJob(
        id=record.id,
        status=record.status,
        created_at=int(order.created_at_s),
        started_at=_whole(record.started_at_s),
        ended_at=_whole(record.ended_at_s),
        expires_at=_whole(record.expires_at_s),
        model=order.model,
        language=order.language,
        formats=list(order.formats),
        word_timestamps=order.word_timestamps,
        webhook_url=order.webhook_url,
        webhook=_outcome(record),
        files=[_file(record, n) for n in range(len(order.sources))],
        progress=_progress(record, now_s),
        error=_trouble(record.error),
    )


def job_event(record: Record, now_s: float) -> Event:
    """That the job has its status now."""
    body = JobEvent(id=record.id, status=record.status, progress=_progress(record, now_s), error=_trouble(record.error))
    name: JobEventName = TERMINAL.get(record.status, "job.running")
    return Event(name, body.model_dump_json().encode())


def file_event(name: FileEventName, record: Record, n: int, now_s: float) -> Event:
    body = FileEvent(id=record.id, file=_file(record, n), progress=_progress(record, now_s))
    return Event(name, body.model_dump_json().encode())


def result_path(job_id: str, n: int, format_name: str) -> str:
    return f"{PATH}/{job_id}/files/{n}/{format_name}"


def _file(record: Record, n: int) -> TranscriptionFile:
    recording = record.recordings[n]
    formats = record.order.formats if recording.status == "completed" else ()
    return TranscriptionFile(
        index=n,
        name=record.order.sources[n].filename,
        status=recording.status,
        duration_s=None if recording.duration_ms is None else recording.duration_ms / 1000,
        done_s=recording.done_ms / 1000,
        language=recording.language,
        error=_trouble(recording.error),
        results={name: result_path(record.id, n, name) for name in formats},
    )


def _progress(record: Record, now_s: float) -> JobProgress:
    done_ms = sum(recording.done_ms for recording in record.recordings)
    pace = record.pace if record.status == "running" else None
    found = progress(done_ms, total_ms(record), pace, now_s)
    return JobProgress(done_s=found.done_s, total_s=found.total_s, percent=found.percent, eta_s=found.eta_s)


def total_ms(record: Record) -> int | None:
    """None until every length is known that will ever be."""
    total = 0
    for recording in record.recordings:
        if recording.status == "failed":
            total += recording.done_ms
        elif recording.duration_ms is None:
            return None
        else:
            total += recording.duration_ms
    return total


def _outcome(record: Record) -> WebhookOutcome | None:
    found = record.webhook
    if found is None:
        return None
    return WebhookOutcome(delivered_at=_whole(found.delivered_at_s), tries=found.tries, error=found.error)


def _trouble(fault: object) -> Trouble | None:
    return Trouble.model_validate(fault, from_attributes=True) if fault else None


def _whole(time_s: float | None) -> int | None:
    return None if time_s is None else int(time_s)
