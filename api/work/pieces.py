"""The two kinds of job that a recording is made of, and what their answers say.

A recording is first cut: one job decodes it, finds where somebody speaks, and leaves that as raw samples in the blob
store. Each window of it is then a transcription of its own, so that a worker's death costs half a minute of audio.
"""

import math
import struct
from typing import Any, TypeVar

import msgspec

from api.call import Answered
from api.front import Front
from api.submit import form_job, json_job
from familyai.errors import EngineFailed, RequestError
from familyai.job import Blob, Job
from familyai.lanes import Priority
from familyai.languages import language_code
from familyai.transcript import Segment, Transcript, Word
from familyai.transcription import Fault
from routing.estimate import Estimate
from routing.resolve import Target

CUTS = "/v1/audio/cuts"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
SAMPLE_RATE_HZ = 16_000
_SAMPLE_BYTES = 2
CUTTING = Estimate(input=0, output=0, cost=1.0, tokens=0)
"""Finding out where somebody speaks takes next to nothing beside hearing what is said."""

_T = TypeVar("_T")


class Window(msgspec.Struct, frozen=True):
    """A stretch of the recording, and where its samples lie in the prepared blob, in bytes."""

    start: float
    end: float
    offset: int
    length: int


class Cuts(msgspec.Struct, frozen=True):
    """What cutting a recording found: its language is fixed from then on; None if nobody speaks."""

    duration: float
    language: str | None
    windows: tuple[Window, ...]


class PieceFailed(Exception):
    """The engine refused a piece, or failed on it: trying again would not help."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class _Heard(msgspec.Struct):
    text: str = ""
    start: float = 0.0
    end: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0
    temperature: float = 0.0


class _HeardWord(msgspec.Struct):
    word: str
    start: float
    end: float


class _Verbose(msgspec.Struct):
    duration: float
    segments: list[_Heard] = []
    words: list[_HeardWord] = []


def cut_job(front: Front, member: str, target: Target, audio: str, prepared: str, language: str | None) -> Job:
    """`audio` and `prepared` are names in the blob store."""
    body: dict[str, object] = {"audio": audio, "prepared": prepared, "language": language}
    return json_job(front, CUTS, member, target, body, CUTTING, priority=Priority.BATCH)


def window_job(
    front: Front, member: str, target: Target, prepared: str, window: Window, language: str, words: bool
) -> Job:
    """The window as a file of its own, made of a header and a stretch of the prepared blob."""
    granularities = ["segment", "word"] if words else ["segment"]
    fields = [
        ("precut", "true"),
        ("language", language),
        ("temperature", "0"),
        ("response_format", "verbose_json"),
        *(("timestamp_granularities[]", granularity) for granularity in granularities),
    ]
    samples = Blob(prepared, window.offset, window.length)
    seconds = math.ceil(window.length / SAMPLE_RATE_HZ / _SAMPLE_BYTES)
    return form_job(
        front,
        TRANSCRIPTIONS,
        member,
        target,
        fields,
        samples,
        header=wav_header(window.length),
        estimate=Estimate(seconds, 0, max(1.0, target.model.costs.input * seconds), tokens=0),
        priority=Priority.BATCH,
    )


def wav_header(length: int) -> bytes:
    """Of a WAV file with so many bytes of samples: 16 bit, one channel."""
    rate, bits = SAMPLE_RATE_HZ, 8 * _SAMPLE_BYTES
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * _SAMPLE_BYTES, _SAMPLE_BYTES, bits)
    return b"RIFF" + struct.pack("<I", 36 + length) + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", length)


def cuts_of(answered: Answered) -> Cuts:
    """Raises PieceFailed."""
    cuts = _read(answered, Cuts)
    if cuts.windows and not cuts.language:
        raise PieceFailed(Fault("engine_failed", "the engine heard speech but named no language"))
    return cuts


def transcript_of(answered: Answered, language: str) -> Transcript:
    """A window's, on the window's own clock. Raises PieceFailed."""
    heard = _read(answered, _Verbose)
    words = [Word(word.word, word.start, word.end, 0.0) for word in heard.words]
    segments = []
    for number, segment in enumerate(heard.segments):
        is_last = number == len(heard.segments) - 1
        count = len(words) if is_last else sum(word.start < segment.end for word in words)
        segments.append(Segment(number, **msgspec.structs.asdict(segment), words=tuple(words[:count])))
        words = words[count:]
    return Transcript(language=language_code(language) or language, duration=heard.duration, segments=tuple(segments))


def fault_of(error: RequestError) -> Fault:
    return Fault(error.code or error.type, error.message)


def _read(answered: Answered, kind: type[_T]) -> _T:
    if answered.status != 200:
        raise PieceFailed(_refusal(answered))
    try:
        return msgspec.json.decode(answered.body, type=kind)
    except msgspec.MsgspecError as error:
        raise PieceFailed(Fault("engine_failed", "the engine's answer cannot be read")) from error


def _refusal(answered: Answered) -> Fault:
    """In the engine's own words, where it has any."""
    failed = EngineFailed(f"the engine answered {answered.status}")
    try:
        envelope: dict[str, Any] = msgspec.json.decode(answered.body, type=dict[str, Any])
        error = envelope["error"]
        default = "insufficient_storage" if answered.status == 507 else failed.code
        return Fault(str(error.get("code") or default), str(error["message"]))
    except (msgspec.MsgspecError, KeyError, AttributeError, TypeError):
        return fault_of(failed)
