"""What a transcription job is: what was asked for, and how far it is. Frozen values, and how they read out of Redis."""

from typing import Any, Literal, TypeVar, cast

import msgspec

from familyai.errors import DecodeError

Format = Literal["txt", "srt", "vtt", "json"]
Status = Literal["queued", "running", "completed", "failed", "cancelled"]
FileStatus = Literal["queued", "preparing", "running", "completed", "failed", "cancelled"]
OVER = frozenset({"completed", "failed", "cancelled"})

_T = TypeVar("_T")


class Source(msgspec.Struct, frozen=True):
    """A recording as it came; `file_id` if it is one of the member's files. `filename` is data, never a path."""

    filename: str
    file_id: str | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. It never changes."""

    id: str
    member: str
    model: str
    language: str | None
    formats: tuple[Format, ...]
    word_timestamps: bool
    webhook_url: str | None
    created_at_s: float
    sources: tuple[Source, ...]


class Fault(msgspec.Struct, frozen=True):
    code: str
    message: str


class Recording(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far one file is. `cut` names its cutting, whose windows `windows` tells: `1` for each that is done."""

    status: FileStatus = "queued"
    cut: str | None = None
    duration_ms: int | None = None
    language: str | None = None
    windows: str = ""
    done_ms: int = 0
    error: Fault | None = None

    @property
    def is_over(self) -> bool:
        return self.status in OVER


class Pace(msgspec.Struct, frozen=True):
    """Since when, and with how much audio done by then, the present rate is measured."""

    since_s: float
    done_ms: int


class Outcome(msgspec.Struct, frozen=True):
    """What became of the webhook. `error` is a short word; None when it was delivered."""

    delivered_at_s: float | None
    tries: int
    error: str | None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A transcription job."""

    order: Order
    recordings: tuple[Recording, ...]
    status: Status = "queued"
    started_at_s: float | None = None
    ended_at_s: float | None = None
    expires_at_s: float | None = None
    pace: Pace | None = None
    error: Fault | None = None
    webhook: Outcome | None = None

    @classmethod
    def new(cls, order: Order) -> "Record":
        """As it is at its making."""
        return cls(order=order, recordings=(Recording(),) * len(order.sources))

    @property
    def id(self) -> str:
        return self.order.id

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    def with_recording(self, n: int, recording: Recording) -> "Record":
        recordings = (*self.recordings[:n], recording, *self.recordings[n + 1 :])
        return msgspec.structs.replace(self, recordings=recordings)

    def ended(self, status: Status, now_s: float, expires_at_s: float, error: Fault | None = None) -> "Record":
        """As it is read after it ended so: what was not done by then has ended with it."""
        recordings = tuple(_left(recording, status, error) for recording in self.recordings)
        return msgspec.structs.replace(
            self,
            status=status,
            recordings=recordings,
            ended_at_s=now_s,
            expires_at_s=expires_at_s,
            error=error,
        )


class Event(msgspec.Struct, frozen=True):
    """Something that happened, for those who follow the job."""

    type: str
    data: bytes


def decode(fields: dict[bytes, bytes]) -> Record | None:
    """None for no record at all. Raises DecodeError."""
    if not fields:
        return None
    try:
        return _decode(fields)
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise DecodeError(f"not a transcription job: {error}") from error


def _decode(fields: dict[bytes, bytes]) -> Record:
    order = msgspec.json.decode(fields[b"order"], type=Order)
    recordings = tuple(_json(fields, str(n).encode(), Recording) or Recording() for n in range(len(order.sources)))
    record = Record(
        order=order,
        recordings=recordings,
        status=cast(Status, fields[b"status"].decode()),
        started_at_s=_number(fields, b"started_at_s"),
        pace=_json(fields, b"pace", Pace),
        webhook=_json(fields, b"webhook", Outcome),
    )
    if not record.is_over:
        return record
    ended_at_s, expires_at_s = (_number(fields, name) or 0.0 for name in (b"ended_at_s", b"expires_at_s"))
    return record.ended(record.status, ended_at_s, expires_at_s, _json(fields, b"error", Fault))


def _left(recording: Recording, status: Status, error: Fault | None) -> Recording:
    if recording.is_over:
        return recording
    return msgspec.structs.replace(recording, status="cancelled" if status == "cancelled" else "failed", error=error)


def _json(fields: dict[bytes, bytes], name: bytes, kind: type[_T]) -> _T | None:
    data = fields.get(name)
    return msgspec.json.decode(data, type=kind) if data else None


def _number(fields: dict[bytes, Any], name: bytes) -> float | None:
    return float(fields[name]) if name in fields else None
