"""What this front process counts, in a registry of its own, and the ASGI layer that does the counting."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
CLIENT_LEFT = 499


class Metrics:
    """Paths are route templates, never what a client typed."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "familyai_requests",
            "Requests by the status they ended with; 499: the client left, 500: the answer was cut off.",
            ["path", "status"],
            registry=self.registry,
        )
        self.first_byte_s = Histogram(
            "familyai_time_to_first_byte_seconds",
            "From the request's arrival to the first byte of its answer.",
            ["path"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.duration_s = Histogram(
            "familyai_request_duration_seconds",
            "From the request's arrival to the last byte of its body.",
            ["path"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.routes = Counter(
            "familyai_routes",
            "Requests by what the router took them for, and the queue it chose; `named`: the model was asked for.",
            ["kind", "queue"],
            registry=self.registry,
        )
        self.open_replies = Gauge("familyai_open_replies", "Answers under way or waited for.", registry=self.registry)
        self.waiting = Gauge("familyai_waiting_jobs", "Jobs nobody has begun.", ["queue"], registry=self.registry)
        self.workers = Gauge("familyai_live_workers", "Workers that are alive.", ["queue"], registry=self.registry)
        self.broker_up = Gauge("familyai_broker_up", "Whether the broker answers.", registry=self.registry)


class Measured:
    """The application, measured. It sees every message of a response, so it does next to nothing for each."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        timing = _Timing(send)
        try:
            await self._app(scope, receive, timing.send)
        except BaseException:
            timing.broken = True
            raise
        finally:
            self._record(scope, timing)

    def _record(self, scope: Scope, timing: "_Timing") -> None:
        path = getattr(scope.get("route"), "path_format", "unmatched")
        self._metrics.requests.labels(path, timing.outcome).inc()
        self._metrics.duration_s.labels(path).observe(time.monotonic() - timing.began_s)
        if timing.first_byte_s is not None:
            self._metrics.first_byte_s.labels(path).observe(timing.first_byte_s - timing.began_s)


class _Timing:
    def __init__(self, send: Send) -> None:
        self.began_s = time.monotonic()
        self.first_byte_s: float | None = None
        self.broken = False
        self._status = CLIENT_LEFT
        self._whole = False
        self._send = send

    @property
    def outcome(self) -> int:
        """The status, if all of the answer was sent; else whose fault that is."""
        if self.broken:
            return 500
        return self._status if self._whole else CLIENT_LEFT

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        else:
            is_comment = message.get("body", b"").startswith(b":")  # on the wait, not of the answer
            if self.first_byte_s is None and not is_comment:
                self.first_byte_s = time.monotonic()
            self._whole = not message.get("more_body", False)
        await self._send(message)
