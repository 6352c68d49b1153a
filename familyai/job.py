"""A job is an HTTP request on its way to an engine: a frozen value, written once by the front."""

import uuid

import msgspec

from familyai.errors import DecodeError
from familyai.fair import Ticket
from familyai.lanes import Lane, Priority

JOB_VERSION = 4

Headers = tuple[tuple[str, str], ...]


class Blob(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of an object in the blob store, in bytes."""

    name: str
    offset: int
    length: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as its engine will see it.

    Its body is `body`, then what `blob` names in the blob store, then `tail`: an upload's form fields travel inline,
    its file by reference. `width` counts the answers asked for at once (n × prompts); `queue` is the physical queue.
    `cost` is what it is charged with until it has ended, in units of its model's costs, and `weight` its member's;
    `tokens` are held back for it from its member's limits, of whose jobs at most `most_running` run at once (0: any
    number). `shares_lane`: other members' jobs may wait in its lane, too. It may wait for `deadline_s`. `continues`: an
    answer that broke off can go on at the token where it stopped. `streams`: events were asked for. `logged`: its
    answer is kept for a while in the job's log.
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
    lane_number: int = 0
    cost: float = 1.0
    weight: float = 1.0
    tokens: int = 0
    most_running: int = 0
    shares_lane: bool = False
    continues: bool = False
    streams: bool = False
    logged: bool = False
    deadline_s: float = 600.0
    created_at_s: float = 0.0
    version: int = JOB_VERSION

    @property
    def lane(self) -> str:
        """The Celery queue on which it waits."""
        return Lane(self.queue, self.lane_number, self.priority).name

    @property
    def is_detached(self) -> bool:
        """Nobody in particular waits for it: its answer is in its log, and it runs on when its client leaves."""
        return not self.front

    @property
    def ticket(self) -> Ticket:
        """What the fair order needs to know of it."""
        about = self.id, self.lane, self.member, self.width, self.cost, self.weight, self.created_at_s
        return Ticket(*about, self.most_running)

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
