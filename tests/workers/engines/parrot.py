"""What stands in for Whisper: it hears a word in every second."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
from starlette.types import Receive, Scope, Send

from familyai.blobs import BlobStore
from familyai.transcript import Segment
from tests.spoken import RATE
from workers.speech import listen
from workers.speech.recognise import Wish
from workers.speech.windows import Window


class Parrot:
    """Stands in for the recogniser: hears a word per window, and waits before each if it is told to."""

    def __init__(self) -> None:
        self.is_multilingual = True
        self.heard = 0
        self.asked: list[Wish] = []
        self.may_go_on = threading.Semaphore(1_000)

    def detect_language(self, windows: list[Window]) -> str:
        return "de"

    def recognise(self, windows: Iterator[Window], wish: Wish) -> Iterator[Segment]:
        self.asked.append(wish)
        for number, window in enumerate(windows):
            assert self.may_go_on.acquire(timeout=30)
            self.heard += 1
            yield Segment(number, window.start_s, window.end_s, f" word{number}", -0.1, 1.0, 0.0, 0.0)


class Seconds(listen.AllWindows):
    def __iter__(self) -> Iterator[Window]:
        for window in super().__iter__():
            for second in range(len(window.samples) // RATE):
                at = window.start_s + second
                yield Window(at, at + 1, window.samples[second * RATE : (second + 1) * RATE])


def offering(app: Any, blobs: BlobStore) -> Any:
    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {"blobs": blobs}}, receive, send)

    return with_state


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://engine", timeout=60)
