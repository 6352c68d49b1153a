"""Text to speech with Piper: OpenAI's speech endpoint, a sentence at a time.

One answer is a chain of generators, from the text over its sentences and their samples to the file's bytes, and each
pull on its end speaks one sentence more, in a thread. So the first sentence is on its way while the second is spoken, a
book needs the memory of a sentence, and nobody speaks on for a client who has left.
"""

import base64
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import anyio
import numpy as np
import onnxruntime
from anyio.to_thread import run_sync
from piper import PiperConfig, PiperVoice, SynthesisConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from familyai.catalogue import Model
from familyai.errors import BadRequest, ConfigurationError, RequestError
from familyai.limits import Limits
from workers.engines import Engine
from workers.meter import current_meter
from workers.prepare import find_source
from workers.speech.encode import FORMATS, FormatName, Samples, encoded
from workers.speech.sentences import sentences
from workers.speech.voices import Voices, config_of, unusable

log = logging.getLogger(__name__)

SILENCE_S = 0.1
"""What is heard of a text without a sound."""
MAX_PHONEMES = 300
"""What is spoken at once at most: about 20 s. An ordinary sentence of the greatest length stays below it."""
EVENT_BYTES = 24 * 1024
"""Audio per event of a stream of events, so that clients which read lines need not hold long ones."""

_T = TypeVar("_T")


class _VoiceId(BaseModel):
    id: str


class SpeechRequest(BaseModel):
    """OpenAI's, of any length. `instructions` are for models that act; Piper reads."""

    model_config = ConfigDict(extra="allow")

    model: str
    input: str = Field(min_length=1)
    voice: str | _VoiceId = "alloy"
    response_format: FormatName = "mp3"
    speed: float = Field(1, ge=0.25, le=4)
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_nothing(cls, body: Any) -> Any:
        """Some clients send every parameter they know."""
        return {name: value for name, value in body.items() if value is not None} if isinstance(body, dict) else body

    @property
    def voice_name(self) -> str:
        return self.voice if isinstance(self.voice, str) else self.voice.id


class _BoundedVoice(PiperVoice):
    """A number or a row of letters has many phonemes for its length, and memory goes by the phonemes."""

    def phonemize(self, text: str) -> list[list[str]]:
        return [breath for sentence in super().phonemize(text) for breath in _breaths(sentence)]


def _breaths(phonemes: list[str]) -> Iterator[list[str]]:
    while len(phonemes) > MAX_PHONEMES:
        words = [place for place in range(MAX_PHONEMES // 2, MAX_PHONEMES) if phonemes[place] == " "]
        cut = words[-1] if words else MAX_PHONEMES
        yield phonemes[:cut]
        phonemes = phonemes[cut:]
    yield phonemes


class Speaker:
    """A loaded voice. Threads may share it."""

    def __init__(self, voice: PiperVoice) -> None:
        self._voice = voice
        self.rate_hz = voice.config.sample_rate
        self.language = voice.config.espeak_voice.partition("-")[0]
        named = dict(voice.config.speaker_id_map)
        several = voice.config.num_speakers > 1
        self.speakers: Mapping[str, int] = named or {
            str(n): n for n in range(voice.config.num_speakers if several else 0)
        }

    def speak(self, sentence: str, speaker: int | None, speed: float) -> Iterator[Samples]:
        """Blocks for as long as it takes; holds no lock meanwhile but a short one for the phonemes."""
        scale = self._voice.config.length_scale / speed
        for chunk in self._voice.synthesize(sentence, SynthesisConfig(speaker_id=speaker, length_scale=scale)):
            yield chunk.audio_int16_array


class _Answer:
    """One text on its way to the ear."""

    def __init__(self, speaker: Speaker, number: int | None, asked: SpeechRequest) -> None:
        self._speaker = speaker
        self._number = number
        self._asked = asked
        self.characters = 0

    def pieces(self) -> Iterator[bytes]:
        """The encoded audio; each step speaks until there is some. For a thread."""
        return encoded(self._samples(), self._speaker.rate_hz, self._asked.response_format)

    def _samples(self) -> Iterator[Samples]:
        silent = True
        for sentence in sentences(self._asked.input, self._speaker.language):
            for samples in self._speaker.speak(sentence, self._number, self._asked.speed):
                silent = False
                yield samples
            self._count(len(sentence))
        if silent:
            yield np.zeros(int(self._speaker.rate_hz * SILENCE_S), np.int16)

    def _count(self, characters: int) -> None:
        """Speech is paid for by the character. While a thread is at work here, others only look at the meter's sum."""
        self.characters += characters
        if meter := current_meter.get():
            meter.saw_prompt(characters)


class PiperEngine:
    """The ASGI application."""

    def __init__(self, voices: Voices[Speaker], slots: int) -> None:
        self._voices = voices
        self._turns = anyio.CapacityLimiter(slots)  # taken for a sentence: a newcomer waits for no more than one
        # a bare router: Starlette would answer a failure itself before it lets the worker know
        self.app = Router(
            routes=[
                Route("/v1/audio/speech", self._speech, methods=["POST"]),
                Route("/v1/audio/voices", self._list, methods=["GET"]),
            ]
        )

    async def _list(self, request: Request) -> Response:
        names = await run_sync(self._voices.names)
        return JSONResponse({"voices": [{"id": name, "name": name} for name in names]})

    async def _speech(self, request: Request) -> Response:
        try:
            asked = _parse(await request.body())
            speaker, number = await run_sync(self._voices.find, asked.voice_name)
            answer = _Answer(speaker, number, asked)
            pieces = answer.pieces()
            first = await self._begin(pieces, asked.voice_name)
        except RequestError as error:
            return JSONResponse(error.envelope(), error.status)
        audio = self._rest(first, pieces)
        if asked.stream_format == "sse":
            return StreamingResponse(_events(audio, answer), media_type="text/event-stream")
        return StreamingResponse(audio, media_type=FORMATS[asked.response_format].media_type)

    async def _begin(self, pieces: Iterator[bytes], voice: str) -> bytes:
        """The first piece, before the status is sent: a voice that loads may still not speak. Raises BadRequest."""
        try:
            return await self._next(pieces) or b""
        except Exception as error:  # whatever the libraries make of a broken voice
            fields = {"action": "voice.unusable", "voice": voice, "reason": type(error).__name__}
            log.warning("a voice cannot speak", extra=fields)
            raise unusable(voice) from error

    async def _rest(self, first: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        yield first
        while piece := await self._next(pieces):
            yield piece

    async def _next(self, pieces: Iterator[_T]) -> _T | None:
        """Cannot be cancelled midway: who leaves is noticed between two sentences."""
        return await run_sync(next, pieces, None, limiter=self._turns)


@asynccontextmanager
async def open_engine(model: Model, limits: Limits, home: Path) -> AsyncIterator[Engine]:
    """Loads the voice that OpenAI's names mean by default; the others load when they are asked for.

    Raises ConfigurationError for an unknown engine argument and when there is no voice at all.
    """
    logging.getLogger("piper").setLevel(logging.ERROR)  # it logs what it reads
    load = partial(_load, options=_Options.parse(model.engine_args))
    wheel = find_source(model.wheel_file) if model.wheel_file else None
    voices = Voices(home / "voices", wheel, model.voices, load)
    await run_sync(_warm, voices)
    yield Engine(PiperEngine(voices, model.slots).app)


class _Options(BaseModel):
    """The catalogue's `engine_args`."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=lambda name: name.replace("_", "-"))

    cpu_threads: int = Field(max(1, (os.cpu_count() or 1) // 2), ge=1)
    device: Literal["cpu", "cuda"] = "cpu"

    @classmethod
    def parse(cls, engine_args: Mapping[str, Any]) -> "_Options":
        try:
            options = cls.model_validate(engine_args)
        except ValidationError as error:
            known = ", ".join(field.alias or "" for field in cls.model_fields.values())
            first = error.errors()[0]
            raise ConfigurationError(
                f"engine_args of piper: {first['loc'][0]}: {first['msg']}; there are: {known}"
            ) from error
        if options.device == "cuda" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ConfigurationError("engine_args of piper: device cuda needs the package onnxruntime-gpu")
        return options


def _load(path: Path, options: _Options) -> Speaker:
    """As `PiperVoice.load`, which has no say in threads. Raises what the libraries raise for a broken voice."""
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = options.cpu_threads
    session_options.enable_mem_pattern = False  # a plan for every length ever spoken: memory that only grows
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others use the cores too
    providers = ["CUDAExecutionProvider"] if options.device == "cuda" else []
    session = onnxruntime.InferenceSession(str(path), session_options, [*providers, "CPUExecutionProvider"])
    config = PiperConfig.from_dict(json.loads(config_of(path).read_text(encoding="utf-8")))
    return Speaker(_BoundedVoice(session, config, download_dir=path.parent))


def _warm(voices: Voices[Speaker]) -> None:
    """The first request finds its voice in memory. A voice that is broken is no reason not to start."""
    try:
        speaker, number = voices.find("alloy")
        for _ in speaker.speak("Ready.", number, 1):
            pass
    except Exception as error:
        log.warning(
            "the default voice cannot speak",
            extra={"action": "voice.unusable", "voice": "alloy", "reason": type(error).__name__},
        )


def _parse(body: bytes) -> SpeechRequest:
    """Raises BadRequest with one sentence about the first thing that is wrong."""
    try:
        return SpeechRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        param = str(first["loc"][0]) if first["loc"] else None
        raise BadRequest(f"{param or 'body'}: {first['msg']}", param=param) from error


async def _events(audio: AsyncIterator[bytes], answer: _Answer) -> AsyncIterator[bytes]:
    """OpenAI's `stream_format: sse`. Piper knows no tokens; its usage counts the characters that were spoken."""
    async for piece in audio:
        for start in range(0, len(piece), EVENT_BYTES):
            part = base64.b64encode(piece[start : start + EVENT_BYTES]).decode()
            yield _event({"type": "speech.audio.delta", "audio": part})
    usage = {"input_tokens": answer.characters, "output_tokens": 0, "total_tokens": answer.characters}
    yield _event({"type": "speech.audio.done", "usage": usage})


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"
