import io
import json
import wave

import pytest

from api.call import Answered
from api.work.pieces import PieceFailed, cuts_of, transcript_of, wav_header
from familyai.transcript import shifted, verbose_json

SCORES = {"avg_logprob": -0.25, "compression_ratio": 1.5, "no_speech_prob": 0.01, "temperature": 0.0}
VERBOSE = {
    "task": "transcribe",
    "language": "german",
    "duration": 12.5,
    "text": "Guten Tag. Auf Wiedersehen.",
    "segments": [
        {"id": 0, "seek": 0, "tokens": [], "start": 0.0, "end": 4.0, "text": " Guten Tag.", **SCORES},
        {"id": 1, "seek": 0, "tokens": [], "start": 4.0, "end": 9.0, "text": " Auf Wiedersehen.", **SCORES},
    ],
    "words": [
        {"word": "Guten", "start": 0.1, "end": 1.0},
        {"word": "Tag.", "start": 1.0, "end": 4.0},
        {"word": "Auf", "start": 4.0, "end": 5.0},
        {"word": "Wiedersehen.", "start": 5.0, "end": 9.0},
    ],
    "usage": {"type": "duration", "seconds": 13},
}


def answered(body: object, status: int = 200) -> Answered:
    return Answered(status, json.dumps(body).encode())


def test_the_header_makes_a_file_that_others_read() -> None:
    samples = bytes(range(250)) * 64
    with wave.open(io.BytesIO(wav_header(len(samples)) + samples)) as opened:
        assert (opened.getframerate(), opened.getnchannels(), opened.getsampwidth()) == (16_000, 1, 2)
        assert opened.readframes(len(samples)) == samples


def test_an_answer_read_and_written_again_is_the_same() -> None:
    transcript = transcript_of(answered(VERBOSE), "de")
    assert transcript.language == "de"
    assert [len(segment.words) for segment in transcript.segments] == [2, 2]
    assert verbose_json(transcript, words=True) == VERBOSE


def test_words_move_with_their_segments() -> None:
    moved = shifted(transcript_of(answered(VERBOSE), "de"), 100.0)
    assert moved.segments[1].start == 104.0
    assert [word.start for word in moved.segments[1].words] == [104.0, 105.0]


def test_words_without_a_place_go_with_the_last_segment() -> None:
    late = {**VERBOSE, "words": [{"word": "nun", "start": 11.0, "end": 12.0}]}
    assert [len(segment.words) for segment in transcript_of(answered(late), "de").segments] == [0, 1]


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (400, {"error": {"message": "no sound", "code": "bad_audio"}}, "bad_audio", "no sound"),
        (400, {"error": {"message": "no sound", "code": None}}, "engine_failed", "no sound"),
        (507, {"error": {"message": "full"}}, "insufficient_storage", "full"),
        (500, {"error": "what?"}, "engine_failed", "the engine answered 500"),
        (500, [], "engine_failed", "the engine answered 500"),
        (404, {"detail": "Not Found"}, "engine_failed", "the engine answered 404"),
        (200, {"something": "else"}, "engine_failed", "the engine's answer cannot be read"),
        (200, {"duration": 9.0, "language": None, "windows": [[0, 1, 0, 2]]}, "engine_failed", None),
    ],
)
def test_a_refusal_is_passed_on_in_its_own_words(status: int, body: object, code: str, message: str | None) -> None:
    with pytest.raises(PieceFailed) as failed:
        cuts_of(answered(body, status))
    assert failed.value.fault.code == code
    assert message is None or failed.value.fault.message == message


def test_speech_without_a_language_is_a_failure() -> None:
    window = {"start": 0.0, "end": 1.0, "offset": 0, "length": 2}
    with pytest.raises(PieceFailed):
        cuts_of(answered({"duration": 9.0, "language": None, "windows": [window]}))
    assert cuts_of(answered({"duration": 9.0, "language": None, "windows": []})).windows == ()
