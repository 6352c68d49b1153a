"""A job is an HTTP request on its way to an engine: a frozen value, written once by the front."""

import uuid

import msgspec

from familyai.errors import DecodeError

JOB_VERSION = 1

Headers = tuple[tuple[str, str], ...]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as its engine will see it.

    The body travels inline, or, above `inline_body_kb`, as `body_ref`: a name in the blob store.
    `width` counts the answers asked for at once (n × prompts); `queue` is the physical queue that serves it.
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
    body_ref: str | None = None
    width: int = 1
    created_at_s: float = 0.0
    version: int = JOB_VERSION


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Job)


def new_job_id() -> str:
    """Unique, unguessable (122 random bits) and URL-safe."""
    return f"job-{uuid.uuid4().hex}"


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
