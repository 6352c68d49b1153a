"""One answer of an engine's ASGI application, with what was said beside its bytes."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message

from familyai.frame import Tokens
from familyai.past import NOTHING, Past
from workers import at_hand
from workers.at_hand import AtHand
from workers.meter import Meter, current_meter

REQUEST_ID = "job-7"
CREATED_S = 1_700_000_000


@dataclass(frozen=True)
class Event:
    """What becomes one frame: the start, or a piece of the body and the tokens that came with it."""

    message: Message
    tokens: Tokens | None


@dataclass(frozen=True)
class Answer:
    events: list[Event]
    meter: Meter

    @property
    def messages(self) -> list[Message]:
        return [event.message for event in self.events]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The objects of an event stream."""
        body = b"".join(message.get("body", b"") for message in self.messages).decode()
        data = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
        return [json.loads(text) for text in data if text != "[DONE]"]

    def past(self, frames: int) -> Past:
        """What a client has that was sent so many frames."""
        tokens = [event.tokens for event in self.events[:frames] if event.tokens]
        return Past(frames, tuple(output for each in tokens for output in each.outputs))


async def ask(app: ASGIApp, path: str, body: dict[str, Any], past: Past = NOTHING) -> Answer:
    """Asks in a context of its own, as a worker does for each job."""
    return await asyncio.create_task(_ask(app, path, json.dumps(body).encode(), past))


async def _ask(app: ASGIApp, path: str, body: bytes, past: Past) -> Answer:
    answer = Answer([], Meter())
    at_hand.current.set(AtHand(CREATED_S, past))
    current_meter.set(answer.meter)
    requests: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return requests.pop() if requests else await asyncio.Future()

    async def send(message: Message) -> None:
        answer.events.append(Event(message, answer.meter.take() if "body" in message else None))

    await app(_scope(path, body), receive, send)
    return answer


def _scope(path: str, body: bytes) -> dict[str, Any]:
    headers = {"content-type": "application/json", "content-length": str(len(body)), "x-request-id": REQUEST_ID}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("familyai", 0),
        "client": None,
        "state": {},
    }
