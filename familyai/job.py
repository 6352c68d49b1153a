"""A job is an HTTP request on its way to an engine: a frozen value, written once by the front."""

import uuid
from enum import StrEnum

import msgspec

from familyai import keys
from familyai.errors import DecodeError

JOB_VERSION = 2

Headers = tuple[tuple[str, str], ...]


class Priority(StrEnum):
    """Who goes first. Each has a Celery queue of its own beside the model's others."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Blob(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of an object in the blob store, in bytes."""

    name: str
    offset: int
    length: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as its engine will see it.

    Its body is `body`, then what `blob` names in the blob store, then `tail`: an upload's form fields travel inline,
    its file by reference. `width` counts the answers asked for at once (n × prompts); `queue` is the physical queue.
    """

    id: str
    queue: str
    model: str
    member: str
    front: str
    method: str
    path: str
    headers: Headers = ()
    body: bytes = b""
    blob: Blob | None = None
    tail: bytes = b""
    width: int = 1
    priority: Priority = Priority.INTERACTIVE
    created_at_s: float = 0.0
    version: int = JOB_VERSION

    @property
    def lane(self) -> str:
        """The Celery queue on which it waits."""
        return keys.lane(self.queue, self.priority)

    @property
    def body_bytes(self) -> int:
        return len(self.body) + (self.blob.length if self.blob else 0) + len(self.tail)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Job)


def new_job_id() -> str:
    """Unique, unguessable (122 random bits) and URL-safe."""
    return f"job-{uuid.uuid4().hex}"


def own_blob(job_id: str) -> str:
    """The name of a body that belongs to this job alone and goes with it."""
    return f"requests/{job_id}"


def encode_job(job: Job) -> bytes:
    return _encoder.encode(job)


def decode_job(data: bytes) -> Job:
    """Raises DecodeError for bytes that are no job of this version."""
    try:
        job = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a job: {error}") from error
    if job.version != JOB_VERSION:
        raise DecodeError(f"job {job.id} has version {job.version}, this process reads {JOB_VERSION}")
    return job
