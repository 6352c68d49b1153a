"""Frames in, ASGI messages out. Pure: what was sent so far decides what can still be said."""

from starlette.types import Message

from api.failures import Dialect, event
from familyai.errors import FamilyAIError, RequestError
from familyai.frame import Body, End, Frame, Start
from familyai.job import Job

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer"}
    | {b"transfer-encoding", b"upgrade"}
)


class AnswerBroken(FamilyAIError):
    """Raised to the server so that it cuts the connection: the client must see that the body is not whole."""


class Answer:
    """One job's answer, as far as the client has it."""

    def __init__(self, job: Job, queue: str, dialect: Dialect) -> None:
        self.status: int | None = None
        self.ended = False
        self._job_id, self._model = job.id, job.model
        self._queue = queue
        self._dialect = dialect
        self._is_event_stream = False
        self._events = 0
        self._tail = b"\n\n"

    def messages(self, frames: list[Frame]) -> list[Message]:
        """The engine's bytes as they are; all that are here in one piece."""
        messages: list[Message] = []
        if isinstance(frames[0], Start):
            messages.append(self._start(frames[0]))
        body = b"".join(frame.data for frame in frames if isinstance(frame, Body))
        self.ended = isinstance(frames[-1], End)
        if body or self.ended:
            self._remember(body)
            messages.append(_body(body, more=not self.ended))
        return messages

    def failure(self, error: RequestError) -> list[Message]:
        """The end of an answer that broke. Raises the error itself when nothing was sent, AnswerBroken when the
        body has no place for it."""
        if self.status is None:
            raise error
        if not self._is_event_stream:
            raise AnswerBroken(error.message) from error
        self.ended = True
        gap = b"" if self._tail.endswith((b"\n\n", b"\r\n\r\n")) else b"\n\n"
        return [_body(gap + event(error, self._dialect, self._events), more=False)]

    def _start(self, start: Start) -> Message:
        self.status = start.status
        headers = [(name.lower(), value) for name, value in start.headers if name.lower() not in _HOP_BY_HOP]
        self._is_event_stream = dict(headers).get(b"content-type", b"").startswith(b"text/event-stream")
        if self._is_event_stream:  # it may yet grow an error event
            headers = [(name, value) for name, value in headers if name != b"content-length"]
        return {"type": "http.response.start", "status": start.status, "headers": headers + self._about(start)}

    def _about(self, start: Start) -> list[tuple[bytes, bytes]]:
        return [
            (b"x-familyai-job-id", self._job_id.encode()),
            (b"x-familyai-model", self._model.encode()),
            (b"x-familyai-queue", self._queue.encode()),
            (b"x-familyai-queue-wait-ms", b"%d" % round(start.queue_wait_s * 1000)),
        ]

    def _remember(self, body: bytes) -> None:
        if self._is_event_stream:
            half_an_end = b"\n" if self._tail.endswith(b"\n") and not self._tail.endswith(b"\n\n") else b""
            self._events += (half_an_end + body).count(b"\n\n")
            self._tail = (self._tail + body[-4:])[-4:]


def _body(data: bytes, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
