"""Speech out and in again: Piper speaks, Whisper reads it back, through the real queue, with the `openai` client."""

import io
import itertools
from collections.abc import Iterator

import av
import httpx
import jiwer
import openai
import pysubs2
import pytest
import webvtt
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from tests.acceptance.conftest import Household

SENTENCES = (
    "The kettle is on the stove, and the tea is almost ready.",
    "Grandmother arrives on the twelfth of March at half past four.",
    "Please buy two litres of milk, six eggs and a loaf of bread.",
    "Peter and Susan walked along the river until it was dark.",
    "My phone number ends in seven, three, nine, one.",
    "Is the window in the kitchen still open?",
    "We need three hundred and fifty grams of flour for the cake.",
    "Robert's train leaves from platform nine.",
    "Don't forget your umbrella; it will rain in the afternoon.",
    "The museum opens at ten and closes at six.",
    "Maria has lived in London since nineteen ninety eight.",
    "Turn off the lights when you leave the house!",
    "A quarter of the apples were bad.",
    "The doctor said that she should rest for five days.",
    "Our dog sleeps under the big table in the living room.",
    "David scored two goals in the first half of the game.",
    "The meeting was moved from Tuesday to Thursday morning.",
    "There are sixty minutes in an hour, and sixty seconds in a minute.",
    "She paid forty dollars for a ticket to the concert.",
    "Could you read the letter to me once more?",
    "In the summer we swim in the lake every day.",
    "The library has more than twenty thousand books.",
    "Michael wants to become a teacher or a carpenter.",
    "He opened the door, looked around, and closed it again.",
    "It takes about fifteen minutes to walk to school.",
    "The garden is full of roses in June.",
    "Wash your hands before dinner, please.",
    "Sarah and Thomas are playing chess on the balcony.",
    "The old bridge was built more than one hundred years ago.",
    "Snow fell all night, and the roads were closed.",
    "Bring the ladder from the garage and hold it for me.",
    "Good morning, everyone, and thank you for coming.",
)
TWO = "The cat sat on the kitchen table. Outside, it was raining all afternoon."
"""Piper never speaks a text twice alike. The words looked for were heard in 60 readings of 60; of shorter or
plainer ones ('dinner is ready', 'warm fire') one in thirty to sixty was misheard."""
MOST_WRONG = 0.10


def speak(client: openai.OpenAI, text: str, **options: str) -> bytes:
    return client.audio.speech.create(model="tts-1", voice="alloy", input=text, **options).read()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def recording(client: openai.OpenAI) -> tuple[str, bytes]:
    """Two sentences, as a file that the client can send."""
    return "two.mp3", speak(client, TWO)


def duration_s(sound: bytes) -> float:
    with av.open(io.BytesIO(sound)) as container:
        frames = container.decode(audio=0)
        return sum(frame.samples / frame.sample_rate for frame in frames)


def test_what_is_spoken_is_understood(client: openai.OpenAI) -> None:
    normal = EnglishTextNormalizer({})
    heard = [
        client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", speak(client, text)), language="en").text
        for text in SENTENCES
    ]
    wrong = jiwer.wer([normal(text) for text in SENTENCES], [normal(text) for text in heard])
    print(f"word error rate over {len(SENTENCES)} sentences: {wrong:.1%}")
    assert len(SENTENCES) >= 30
    assert wrong <= MOST_WRONG, [
        (said, got) for said, got in zip(SENTENCES, heard, strict=True) if normal(said) != normal(got)
    ]


@pytest.mark.parametrize("kind", ["mp3", "opus", "aac", "flac", "wav"])
def test_every_format_can_be_heard_and_understood(client: openai.OpenAI, kind: str) -> None:
    sound = speak(client, TWO, response_format=kind)
    assert 3 < duration_s(sound) < 8
    heard = client.audio.transcriptions.create(model="whisper-1", file=(f"a.{kind}", sound)).text
    assert "kitchen" in heard
    assert "afternoon" in heard


def test_raw_samples_are_as_openai_documents_them(client: openai.OpenAI) -> None:
    samples = speak(client, TWO, response_format="pcm")
    assert 3 < len(samples) / 2 / 24_000 < 8


def test_speed(client: openai.OpenAI) -> None:
    def length(speed: float) -> float:
        return duration_s(client.audio.speech.create(model="tts-1", voice="alloy", input=TWO, speed=speed).read())

    assert length(2.0) < 0.7 * length(1.0) < length(0.5)


def test_speech_as_events(client: openai.OpenAI, household: Household) -> None:
    """The client hands out the raw stream; its events are OpenAI's."""
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=TWO, stream_format="sse"
    ) as response:
        lines = [line for line in response.iter_lines() if line.startswith("data: ")]
    assert all('"speech.audio.delta"' in line for line in lines[:-1])
    assert '"speech.audio.done"' in lines[-1]
    assert len(lines) > 2


@pytest.mark.parametrize("kind", ["json", "text", "srt", "vtt", "verbose_json"])
def test_every_response_format(client: openai.OpenAI, recording: tuple[str, bytes], kind: str) -> None:
    answer = client.audio.transcriptions.create(model="whisper-1", file=recording, response_format=kind)  # type: ignore[call-overload]
    match kind:
        case "srt":
            text = " ".join(cue.plaintext for cue in pysubs2.SSAFile.from_string(answer, "srt"))
        case "vtt":
            text = " ".join(cue.text for cue in webvtt.from_string(answer))
        case "text":
            text = answer
        case _:
            text = answer.text
    assert "kitchen" in text
    assert "afternoon" in text


def test_times_of_segments_and_words(client: openai.OpenAI, recording: tuple[str, bytes]) -> None:
    answer = client.audio.transcriptions.create(
        model="whisper-1",
        file=recording,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert answer.language == "english"
    assert answer.segments
    assert answer.words
    assert abs(answer.duration - duration_s(recording[1])) < 0.5
    assert [word.word.strip(" .,").lower() for word in answer.words][:3] == ["the", "cat", "sat"]
    for before, after in itertools.pairwise(answer.words):
        assert before.start <= before.end <= after.end
        assert before.start <= after.start
    assert answer.segments[-1].end <= answer.duration + 0.1


def test_a_transcript_as_it_is_recognised(client: openai.OpenAI, recording: tuple[str, bytes]) -> None:
    events = list(client.audio.transcriptions.create(model="gpt-4o-transcribe", file=recording, stream=True))
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert events[-1].type == "transcript.text.done"
    assert "".join(deltas).strip() == events[-1].text.strip()
    assert "kitchen" in events[-1].text


def test_a_translation(client: openai.OpenAI, recording: tuple[str, bytes]) -> None:
    assert "kitchen" in client.audio.translations.create(model="whisper-1", file=recording).text


def test_as_open_webui_asks(household: Household, http: httpx.Client, recording: tuple[str, bytes]) -> None:
    """Chunked transfer encoding, octets, and no response_format."""
    form = httpx.Request("POST", "http://x", files={"file": ("blob", recording[1], "application/octet-stream")})
    whole = form.read()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(whole), 4096):
            yield whole[start : start + 4096]

    headers = {"content-type": form.headers["content-type"]}
    heard = http.post("/v1/audio/transcriptions", content=pieces(), headers=headers)
    assert "kitchen" in heard.json()["text"]
    spoken = http.post("/v1/audio/speech", json={"input": "Hello.", "voice": "alloy", "model": "tts-1"})
    assert spoken.headers["content-type"] == "audio/mpeg"
    anybody = httpx.Client(base_url=household.url)
    voices = anybody.get("/v1/audio/voices").json()["voices"]
    assert {"id", "name"} == voices[0].keys()
    assert "en_US-joe-medium" in [voice["id"] for voice in voices]
    assert "tts-1" in [model["id"] for model in anybody.get("/v1/audio/models").json()["models"]]


def test_the_first_sound_is_sent_before_the_last_sentence_is_spoken(http: httpx.Client) -> None:
    """Of a text that takes seconds to speak, most arrives after the first bytes."""
    text = " ".join(SENTENCES[:12])
    with http.stream("POST", "/v1/audio/speech", json={"input": text, "response_format": "pcm"}) as response:
        sizes = [len(chunk) for chunk in response.iter_raw()]
    assert sizes[0] < sum(sizes) / 4
    assert len(sizes) > 4
