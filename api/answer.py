"""Frames in, ASGI messages out. Pure: what was sent so far decides what can still be said.

A stream whose job waits may be opened before the engine has said anything. From then on there are only events: what the
engine refuses it with becomes one, too.
"""

import math

from starlette.types import Message

from api.failures import Dialect, event, refused
from api.numbered import Numbered
from familyai.errors import FamilyAIError, RequestError
from familyai.frame import Body, End, Frame, Start
from familyai.job import Job
from familyai.jobs import Description
from familyai.line import Place

LARGEST_REFUSAL_BYTES = 64_000
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer"}
    | {b"transfer-encoding", b"upgrade"}
)
_EVENT_STREAM = b"text/event-stream"
_OPENED = [
    (b"content-type", _EVENT_STREAM + b"; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would keep comments until there are enough of them
]


class AnswerBroken(FamilyAIError):
    """Raised to the server so that it cuts the connection: the client must see that the body is not whole."""


class Answer:
    """One job's answer, as far as the client has it. `is_stream`: events were asked for, so it may be opened early.

    `route`: why it is in its queue, and `place`: where the job stood in its line, for the headers. `after`: the number
    of the last event of the stream that the client has already.
    """

    def __init__(
        self,
        job: Job | Description,
        queue: str,
        dialect: Dialect,
        *,
        route: str,
        is_stream: bool = False,
        after: int = 0,
    ) -> None:
        self.status: int | None = None
        self.ended = False
        self.is_stream = is_stream
        self.place: Place | None = None
        self._job_id, self._model = job.id, job.model
        self._queue, self._route = queue, route
        self._dialect = dialect
        self._is_event_stream = False
        self._refusal: _Refusal | None = None
        self._events = Numbered(after)

    def open(self) -> Message:
        """The beginning of an event stream that says nothing yet. Before any frames."""
        self.status, self._is_event_stream = 200, True
        return {"type": "http.response.start", "status": 200, "headers": _OPENED + self._about()}

    @property
    def is_between_events(self) -> bool:
        """Of a stream that has begun: where a comment does no harm."""
        return self._is_event_stream and self._events.at_boundary

    def comment(self, words: bytes) -> Message:
        """Between events, in a stream that was opened."""
        return _body(words, more=True)

    def messages(self, frames: list[Frame]) -> list[Message]:
        """The engine's bytes as they are, but for the numbers of a stream's events; all that are here in one piece."""
        messages = self._start(frames[0]) if isinstance(frames[0], Start) else []
        body = b"".join(frame.data for frame in frames if isinstance(frame, Body))
        self.ended = isinstance(frames[-1], End)
        if self._refusal is not None:
            return self._refused(self._refusal, body)
        if self._is_event_stream:
            body = self._events.feed(body)
        if body or self.ended:
            messages.append(_body(body, more=not self.ended))
        return messages

    def failure(self, error: RequestError) -> list[Message]:
        """The end of an answer that broke. Raises the error, of this job, when nothing was sent, AnswerBroken when the
        body has no place for it."""
        if self.status is None:
            raise error.of(self._job_id) from error
        if not self._is_event_stream:
            raise AnswerBroken(error.message) from error
        self.ended = True
        end = self._events.close()
        told = event(error, self._dialect, self._events.count)  # without a number: whoever comes back skips no other
        return [_body(end + told, more=False)]

    def _start(self, start: Start) -> list[Message]:
        headers = [(name.lower(), value) for name, value in start.headers if name.lower() not in _HOP_BY_HOP]
        streams = dict(headers).get(b"content-type", b"").startswith(_EVENT_STREAM)
        if self.status is not None:  # it was opened
            self._refusal = None if start.status == 200 and streams else _Refusal(start.status)
            return []
        self.status, self._is_event_stream = start.status, streams
        if streams:  # it may yet grow an error event
            headers = [(name, value) for name, value in headers if name != b"content-length"]
        waited = (b"x-familyai-queue-wait-ms", b"%d" % round(start.queue_wait_s * 1000))
        headers += [*self._about(), waited]
        return [{"type": "http.response.start", "status": start.status, "headers": headers}]

    def _about(self) -> list[tuple[bytes, bytes]]:
        about = [
            (b"x-familyai-job-id", self._job_id.encode()),
            (b"x-familyai-model", self._model.encode()),
            (b"x-familyai-queue", self._queue.encode()),
            (b"x-familyai-route", self._route.encode("ascii", "replace")),
        ]
        if self.place is not None:
            about.append((b"x-familyai-queue-position", b"%d" % self.place.position))
        if self.place is not None and self.place.eta_s is not None:
            about.append((b"x-familyai-queue-eta-s", b"%d" % math.ceil(self.place.eta_s)))
        return about

    def _refused(self, refusal: "_Refusal", body: bytes) -> list[Message]:
        refusal.add(body)
        return self.failure(refused(refusal.status, bytes(refusal.body))) if self.ended else []


class _Refusal:
    """What the engine says instead of a stream, kept until it is whole; of something very long its beginning."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.body = bytearray()

    def add(self, data: bytes) -> None:
        self.body += data[: LARGEST_REFUSAL_BYTES - len(self.body)]


def _body(data: bytes, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
