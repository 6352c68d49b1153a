from typing import Any

import pysubs2
import pytest
import webvtt
from openai.types.audio import TranscriptionVerbose

from familyai.errors import DecodeError
from familyai.transcript import (
    Segment,
    Transcript,
    Word,
    decode,
    encode,
    joined,
    shifted,
    srt,
    text,
    usage,
    verbose_json,
    vtt,
)


def segment(start: float, end: float, said: str, **fields: Any) -> Segment:
    ordinary = {"id": 0, "avg_logprob": -0.2, "compression_ratio": 1.1, "no_speech_prob": 0.01, "temperature": 0.0}
    return Segment(**{**ordinary, "start": start, "end": end, "text": said, **fields})


def recording(*segments: Segment, **fields: Any) -> Transcript:
    return Transcript(**{"language": "en", "duration": 9.2, "segments": segments, **fields})


HELLO = segment(0.5, 1.75, " Hello there.", words=(Word(" Hello", 0.5, 1.0, 0.9), Word(" there.", 1.0, 1.75, 0.8)))
LATER = segment(3723.004, 3725.0, " It is <late> & 5 --> 6.\n\nGo.")
NOBODY = Transcript(language=None, duration=36000.0)


def test_text_is_the_segments_as_they_are() -> None:
    assert text(recording(HELLO, segment(2, 3, " General."))) == "Hello there. General."
    assert text(recording(segment(0, 1, "你好"), segment(1, 2, "世界"))) == "你好世界"
    assert text(NOBODY) == ""


def test_srt_is_read_by_a_library() -> None:
    written = srt(recording(HELLO, LATER))
    first, second = pysubs2.SSAFile.from_string(written, format_="srt", keep_unknown_html_tags=True)
    assert (first.start, first.end, first.plaintext) == (500, 1750, "Hello there.")
    assert second.start == pysubs2.make_time(h=1, m=2, s=3, ms=4)
    assert second.plaintext == "It is <late> & 5 -> 6. Go."


def test_vtt_is_read_by_a_library() -> None:
    first, second = webvtt.from_string(vtt(recording(HELLO, LATER))).captions
    assert (first.start, first.end, first.text) == ("00:00:00.500", "00:00:01.750", "Hello there.")
    assert (second.start, second.raw_text) == ("01:02:03.004", "It is &lt;late&gt; &amp; 5 --&gt; 6. Go.")


def test_times_carry_over() -> None:
    assert srt(recording(segment(59.9996, 3599.9999, "x"))).startswith("1\n00:01:00,000 --> 01:00:00,000\n")
    assert "100:00:00.000" in vtt(recording(segment(359999, 360000, "x")))


def test_a_cue_never_ends_as_it_starts() -> None:
    assert "00:00:02.000 --> 00:00:02.001" in vtt(recording(segment(2, 2, "x")))


def test_nobody_spoke() -> None:
    assert srt(NOBODY) == ""
    assert webvtt.from_string(vtt(NOBODY)).captions == []
    body = verbose_json(NOBODY, words=True)
    assert (body["language"], body["text"], body["segments"], body["words"]) == ("unknown", "", [], [])


def test_verbose_json_is_openais() -> None:
    body = verbose_json(recording(HELLO), words=True)
    read = TranscriptionVerbose.model_validate(body)
    assert (read.language, read.duration, read.text) == ("english", 9.2, "Hello there.")
    assert [(word.word, word.start) for word in read.words or ()] == [("Hello", 0.5), ("there.", 1.0)]
    assert [(part.id, part.text, part.end) for part in read.segments or ()] == [(0, " Hello there.", 1.75)]
    assert read.usage is not None
    assert read.usage.seconds == 10
    assert body["task"] == "transcribe"


def test_verbose_json_has_the_lists_that_were_asked_for() -> None:
    assert "words" not in verbose_json(recording(HELLO), words=False)
    assert "segments" not in verbose_json(recording(HELLO), words=True, segments=False)


def test_a_translation_is_english() -> None:
    assert verbose_json(recording(language="de", task="translate"), words=False)["language"] == "english"


def test_seconds_begun_are_charged() -> None:
    assert usage(8.01) == {"type": "duration", "seconds": 9}


def test_shifting_moves_words_too() -> None:
    (moved,) = shifted(recording(HELLO), 10.1).segments
    assert (moved.start, moved.end, moved.words[1].start) == (10.6, 11.85, 11.1)


def test_joining_numbers_anew() -> None:
    parts = [Transcript(None, 1.0), recording(HELLO, LATER, language="de"), recording(HELLO)]
    whole = joined(parts, 99.5)
    assert ([part.id for part in whole.segments], whole.language, whole.duration) == ([0, 1, 2], "de", 99.5)


def test_joining_nothing() -> None:
    assert joined([], 5.0) == Transcript(None, 5.0)


def test_there_and_back() -> None:
    assert decode(encode(recording(HELLO, LATER))) == recording(HELLO, LATER)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"language": 5, "duration": 1}', b"\xff"])
def test_what_is_no_transcript(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data)
