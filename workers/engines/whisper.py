"""Speech to text with faster-whisper: OpenAI's transcription and translation endpoints, and one of our own that cuts.

Decoding, cutting and recognising run in threads of the engine's own, as many as jobs run at once; each step is one
batch of windows, and between two steps a thread looks whether anybody still waits for its answer.
"""

import asyncio
import errno
import json
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import ctranslate2
from faster_whisper import WhisperModel
from faster_whisper.utils import available_models
from faster_whisper.vad import get_vad_model
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from familyai.catalogue import Model
from familyai.errors import BadRequest, ConfigurationError, InsufficientStorage, NotFound, RequestError
from familyai.languages import language_code
from familyai.limits import Limits
from familyai.transcript import Segment, Task, text, usage
from workers.engines import Engine
from workers.meter import Meter, current_meter
from workers.prepare import find_source
from workers.speech.form import answer, read_form
from workers.speech.in_thread import Stopped, read_in_thread
from workers.speech.listen import Cutting, Listening
from workers.speech.recognise import Recogniser

CUDA_BATCH_SIZE = 8
NOBODY_WAITS = Response(status_code=499)
"""What nobody reads."""

_T = TypeVar("_T")
Endpoint = Callable[[Request], Awaitable[Response]]


class Options(BaseModel):
    """The `engine_args` of a Whisper model."""

    model_config = ConfigDict(extra="forbid")

    device: str = Field(default_factory=lambda: "cuda" if ctranslate2.get_cuda_device_count() else "cpu")
    compute_type: str = Field("", alias="compute-type")
    batch_size: int = Field(0, alias="batch-size", ge=0)
    cpu_threads: int = Field(0, alias="cpu-threads", ge=0)
    num_workers: int = Field(0, alias="num-workers", ge=0)

    def completed(self, model: Model) -> "Options":
        """With what fits the device where nothing was said.

        On a CPU one window at a time: the first words come soonest, and jobs side by side use the cores at least as
        well as one job's batch does (`scripts/bench_speech.py`).
        """
        is_cuda = self.device != "cpu"
        return Options.model_construct(
            device=self.device,
            compute_type=self.compute_type or ("float16" if is_cuda else "int8"),
            batch_size=self.batch_size or (CUDA_BATCH_SIZE if is_cuda else 1),
            cpu_threads=self.cpu_threads or min(4, os.cpu_count() or 1),
            num_workers=self.num_workers or model.slots + model.reserve_slots,
        )


class _Cut(BaseModel):
    """Names of two blobs, the recording's and that of its windows, and the recording's language if it is known."""

    audio: str
    prepared: str
    language: str | None = None


class WhisperEngine:
    """The ASGI application."""

    def __init__(self, recogniser: Recogniser, executor: Executor) -> None:
        self._recogniser = recogniser
        self._executor = executor
        # a bare router: Starlette would answer a failure itself before it lets the worker know
        self.app = Router(
            routes=[
                Route("/v1/audio/transcriptions", _refusing(self._transcribe), methods=["POST"]),
                Route("/v1/audio/translations", _refusing(self._translate), methods=["POST"]),
                Route("/v1/audio/cuts", _refusing(self._cut), methods=["POST"]),
            ]
        )

    async def _transcribe(self, request: Request) -> Response:
        return await self._listen(request, "transcribe")

    async def _translate(self, request: Request) -> Response:
        return await self._listen(request, "translate")

    async def _listen(self, request: Request, task: Task) -> Response:
        file, asked = await read_form(request)
        self._check_language(asked.language)
        listening = Listening(self._recogniser, file, asked.order(task))
        segments = _metered(listening, read_in_thread(self._executor, listening.segments))
        if asked.stream:
            first = await _unless_gone(request, anext(segments, None))
            return StreamingResponse(_events(listening, first, segments), media_type="text/event-stream")
        return answer(listening.transcript(await _unless_gone(request, _all(segments))), asked)

    async def _cut(self, request: Request) -> Response:
        try:
            asked = _Cut.model_validate_json(await request.body())
        except ValidationError as error:
            wrong = error.errors()[0]
            raise BadRequest(wrong["msg"], param=".".join(map(str, wrong["loc"])) or None) from error
        language = language_code(asked.language) if asked.language else None
        self._check_language(language)
        cutting = Cutting(self._recogniser, request.state.blobs, asked.audio, asked.prepared, language)
        windows = await _unless_gone(request, _all(read_in_thread(self._executor, cutting.windows)))
        found = {"duration": cutting.duration_s, "language": cutting.language}
        return JSONResponse({**found, "windows": [asdict(window) for window in windows]})

    def _check_language(self, language: str | None) -> None:
        if language not in (None, "en") and not self._recogniser.is_multilingual:
            raise BadRequest(
                "the model that hears here knows English only: leave `language` out, or name another model",
                param="language",
                code="unsupported_language",
            )


@asynccontextmanager
async def open_engine(model: Model, limits: Limits, home: Path) -> AsyncIterator[Engine]:
    """Loads the model; seconds, or as long as its download takes. Raises ConfigurationError."""
    options = read_options(model)
    with ThreadPoolExecutor(model.slots + model.reserve_slots, thread_name_prefix="whisper") as executor:
        loaded = await asyncio.get_running_loop().run_in_executor(executor, load, model, options)
        yield Engine(WhisperEngine(Recogniser(loaded, options.batch_size), executor).app)


def read_options(model: Model) -> Options:
    """Raises ConfigurationError that names what is wrong and what is known."""
    try:
        return Options.model_validate(model.engine_args).completed(model)
    except ValidationError as error:
        names = ", ".join(field.alias or name for name, field in Options.model_fields.items())
        wrong = error.errors()[0]
        raise ConfigurationError(
            f"engine_args of {model.model}: {wrong['loc'][0]}: {wrong['msg']}; known are {names}"
        ) from error


def load(model: Model, options: Options) -> WhisperModel:
    """Blocks. The voice detector is loaded with it, so that the first request does not wait for it."""
    get_vad_model()
    return WhisperModel(
        str(find_source(model.wheel_file)) if model.wheel_file else hub_name(model.model),
        device=options.device,
        compute_type=options.compute_type,
        cpu_threads=options.cpu_threads,
        num_workers=options.num_workers,
        revision=model.revision,
    )


def hub_name(name: str) -> str:
    """OpenAI's own models by the size under which faster-whisper knows its conversions; others are conversions."""
    size = name.removeprefix("openai/whisper-")
    return size if size in available_models() else name


def _refusing(endpoint: Endpoint) -> Endpoint:
    """Refusals in OpenAI's envelope; everything else is for the worker to report."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RequestError as error:
            return JSONResponse(error.envelope(), status_code=error.status)
        except (ClientDisconnect, Stopped):
            return NOBODY_WAITS
        except OSError as error:
            refusal = _as_refusal(error)
            return JSONResponse(refusal.envelope(), status_code=refusal.status)

    return answered


def _as_refusal(error: OSError) -> RequestError:
    if isinstance(error, FileNotFoundError):
        return NotFound("the recording is not here any more", code="audio_not_found")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InsufficientStorage("the disk is full: nothing was stored")
    raise error


async def _unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """The work's result; it is cancelled when the client leaves, and this raises Stopped."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Stopped
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _all(items: AsyncGenerator[_T, None]) -> list[_T]:
    async with aclosing(items):
        return [item async for item in items]


async def _metered(listening: Listening, segments: AsyncGenerator[Segment, None]) -> AsyncGenerator[Segment, None]:
    """Hearing is paid for by the second of audio, begun ones too."""
    meter, seconds = current_meter.get() or Meter(), 0
    async with aclosing(segments):
        try:
            async for segment in segments:
                seconds += _saw(meter, math.ceil(listening.duration_s) - seconds)
                yield segment
        finally:
            _saw(meter, math.ceil(listening.duration_s) - seconds)


def _saw(meter: Meter, seconds: int) -> int:
    meter.saw_prompt(seconds)
    return seconds


async def _events(
    listening: Listening, first: Segment | None, rest: AsyncGenerator[Segment, None]
) -> AsyncIterator[bytes]:
    """Deltas that joined are the text, then the text."""
    segments = [first] if first else []
    async with aclosing(rest):
        if first:
            yield _event("transcript.text.delta", delta=first.text.lstrip())
        async for segment in rest:
            segments.append(segment)
            yield _event("transcript.text.delta", delta=segment.text)
    spoken = listening.transcript(segments)
    yield _event("transcript.text.done", text=text(spoken), usage=usage(spoken.duration))


def _event(kind: str, **fields: Any) -> bytes:
    return b"data: " + json.dumps({"type": kind, **fields}, ensure_ascii=False).encode() + b"\n\n"
