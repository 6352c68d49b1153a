"""What was said when: the one shape of a recognised recording, and how it reads as txt, srt, vtt and OpenAI's JSON.

Times are seconds on the recording's clock. A segment's text keeps the space it begins with, as Whisper gives it: joined
without anything between them the segments are the whole text, in languages without spaces, too.
"""

import html
import math
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from familyai.errors import DecodeError
from familyai.languages import NAMES

Task = Literal["transcribe", "translate"]

SHORTEST_CUE_S = 0.001
"""A cue must end after it starts, or players refuse the file."""


class Word(msgspec.Struct, frozen=True):
    word: str
    start: float
    end: float
    probability: float


class Segment(msgspec.Struct, frozen=True):
    """A sentence or a part of one, with what the model thought of it."""

    id: int
    start: float
    end: float
    text: str
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    temperature: float
    words: tuple[Word, ...] = ()


class Transcript(msgspec.Struct, frozen=True):
    """`language` is a code ("en"), that of the recording even if the text is a translation; None: nobody spoke."""

    language: str | None
    duration: float
    segments: tuple[Segment, ...] = ()
    task: Task = "transcribe"


_decoder = msgspec.json.Decoder(Transcript)


def encode(transcript: Transcript) -> bytes:
    """JSON that `decode` reads."""
    return msgspec.json.encode(transcript)


def decode(data: bytes) -> Transcript:
    """Raises DecodeError for anything that `encode` has not written."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise DecodeError(f"not a transcript: {error}") from error


def text(transcript: Transcript) -> str:
    return "".join(segment.text for segment in transcript.segments).strip()


def srt(transcript: Transcript) -> str:
    """SubRip, numbered from 1."""
    cues = (
        f"{number}\n{_times(segment, ',')}\n{_one_line(segment.text).replace('-->', '->')}\n\n"
        for number, segment in enumerate(transcript.segments, 1)
    )
    return "".join(cues)


def vtt(transcript: Transcript) -> str:
    """WebVTT; its text is markup, so `&`, `<` and `>` are escaped."""
    cues = (
        f"{_times(segment, '.')}\n{html.escape(_one_line(segment.text), quote=False)}\n\n"
        for segment in transcript.segments
    )
    return "".join(["WEBVTT\n\n", *cues])


def verbose_json(transcript: Transcript, *, words: bool, segments: bool = True) -> dict[str, Any]:
    """OpenAI's `TranscriptionVerbose`; `words` and `segments` say which of the two lists it has."""
    body: dict[str, Any] = {
        "task": transcript.task,
        "language": _language_name(transcript),
        "duration": _rounded(transcript.duration),
        "text": text(transcript),
    }
    if segments:
        body["segments"] = [_verbose_segment(segment) for segment in transcript.segments]
    if words:
        body["words"] = [_verbose_word(word) for segment in transcript.segments for word in segment.words]
    return {**body, "usage": usage(transcript.duration)}


def usage(duration_s: float) -> dict[str, Any]:
    """What OpenAI reports of a model that is charged by the second: seconds begun."""
    return {"type": "duration", "seconds": math.ceil(duration_s)}


def shifted(transcript: Transcript, by_s: float) -> Transcript:
    """The same, heard `by_s` later; `duration` stays the length of what was heard."""
    moved = tuple(_shifted_segment(segment, by_s) for segment in transcript.segments)
    return msgspec.structs.replace(transcript, segments=moved)


def joined(transcripts: Iterable[Transcript], duration: float) -> Transcript:
    """One recording from its stretches, in their order: segments numbered anew, the first known language."""
    parts = list(transcripts)
    segments = (segment for part in parts for segment in part.segments)
    return Transcript(
        language=next((part.language for part in parts if part.language), None),
        duration=duration,
        segments=tuple(msgspec.structs.replace(segment, id=number) for number, segment in enumerate(segments)),
        task=parts[0].task if parts else "transcribe",
    )


def _shifted_segment(segment: Segment, by_s: float) -> Segment:
    words = tuple(
        msgspec.structs.replace(word, start=_rounded(word.start + by_s), end=_rounded(word.end + by_s))
        for word in segment.words
    )
    start, end = _rounded(segment.start + by_s), _rounded(segment.end + by_s)
    return msgspec.structs.replace(segment, start=start, end=end, words=words)


def _verbose_segment(segment: Segment) -> dict[str, Any]:
    fields = msgspec.structs.asdict(segment)
    del fields["words"]
    return {**fields, "seek": 0, "tokens": []}  # of no use to anybody but Whisper; clients expect them


def _verbose_word(word: Word) -> dict[str, Any]:
    return {"word": word.word.strip(), "start": word.start, "end": word.end}


def _language_name(transcript: Transcript) -> str:
    if transcript.task == "translate":
        return "english"
    return NAMES.get(transcript.language or "", transcript.language or "unknown")


def _times(segment: Segment, point: str) -> str:
    end = max(segment.end, segment.start + SHORTEST_CUE_S)
    return f"{_clock(segment.start, point)} --> {_clock(end, point)}"


def _clock(time_s: float, point: str) -> str:
    whole_s, ms = divmod(round(time_s * 1000), 1000)
    minutes, seconds = divmod(whole_s, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{point}{ms:03}"


def _one_line(words: str) -> str:
    """A blank line would end the cue."""
    return " ".join(words.split())


def _rounded(time_s: float) -> float:
    return round(time_s, 3)
