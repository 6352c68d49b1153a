"""What stands in for a voice, and whoever listens to it."""

import asyncio
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from starlette.types import Message

from workers.engines.piper import PiperEngine
from workers.speech.encode import FormatName, Samples
from workers.speech.voices import Voices, config_of

RATE_HZ = 22050


class FakeSpeaker:
    """Says a second of tone per sentence and remembers what it was asked."""

    rate_hz = RATE_HZ
    language = "en"

    def __init__(self, on_speak: Callable[[str], object] = lambda sentence: None) -> None:
        self.speakers: Mapping[str, int] = {"ann": 0, "bob": 1}
        self.spoken: list[tuple[str, int | None, float]] = []
        self._on_speak = on_speak

    def speak(self, sentence: str, speaker: int | None, speed: float) -> Iterator[Samples]:
        self.spoken.append((sentence, speaker, speed))
        self._on_speak(sentence)
        yield (np.sin(np.arange(RATE_HZ) / 10) * 10000).astype(np.int16)


def engine(folder: Path, speaker: FakeSpeaker, slots: int = 2) -> PiperEngine:
    voices = folder / "voices"
    voices.mkdir(exist_ok=True)
    (voices / "joe.onnx").touch()
    config_of(voices / "joe.onnx").write_text("{}")
    return PiperEngine(Voices(voices, None, {}, lambda path: speaker), slots)  # type: ignore[arg-type, return-value]


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://engine")


def heard(data: bytes, name: FormatName = "mp3") -> tuple[float, Samples]:
    """Seconds and samples."""
    raw = {"format": "s16le", "options": {"ar": "24000", "ac": "1"}} if name == "pcm" else {}
    with av.open(io.BytesIO(data), **raw) as container:
        resampler = av.AudioResampler("s16", "mono")
        frames = [made for frame in container.decode(audio=0) for made in resampler.resample(frame)]
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return len(samples) / frames[0].sample_rate, samples


class Listener:
    """An ASGI client that notes what it receives, and may leave."""

    def __init__(self, body: dict[str, object], on_piece: Callable[[bytes], object] = lambda piece: None) -> None:
        self._body: bytes | None = json.dumps(body).encode()
        self._on_piece = on_piece
        self.gone = asyncio.Event()
        self.status = 0
        self.ended = False

    async def ask(self, app: Any) -> None:
        scope = {"type": "http", "asgi": {"spec_version": "2.3"}, "method": "POST", "path": "/v1/audio/speech"}
        await app({**scope, "headers": [], "query_string": b"", "state": {}}, self._receive, self._send)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        if message.get("body"):
            self._on_piece(message["body"])
        self.ended = message["type"] == "http.response.body" and not message.get("more_body")
