"""Transcription jobs over HTTP, with a front that leads and an engine that hears what was written down."""

import asyncio
import io
import json
import time
import zipfile
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.allowance import Role
from familyai.catalogue import Profile
from tests.api.asr import MODEL, QUEUE, Asr, duration_s, recording
from tests.api.folder import JOBS, begun, ended, followed, got, uploads
from tests.api.support import PROFILE, ScriptedWorker, Served, until


@pytest.fixture
def profile() -> Profile:
    limits = {**PROFILE["limits"], "transcription_files": 5, "upload_mb": 1}
    return Profile.model_validate({**PROFILE, "limits": limits, "queues": {**PROFILE["queues"], QUEUE: MODEL}})


async def test_a_folder_of_recordings_becomes_text(served: Served, asr: Asr) -> None:
    job = await begun(
        served, recording("one", "two", "three"), recording("vier", language="de"), formats="txt,srt,vtt,json"
    )
    assert job["status"] == "queued"
    assert job["model"] == "asr"
    assert [file["name"] for file in job["files"]] == ["0.m4a", "1.m4a"]
    assert job["progress"] == {"done_s": 0.0, "total_s": None, "percent": 0.0, "eta_s": None}
    assert job["expires_at"] is None

    done = await ended(served, job["id"])
    assert done["status"] == "completed"
    total_s = duration_s(3) + duration_s(1)
    assert done["progress"] == {"done_s": total_s, "total_s": total_s, "percent": 100.0, "eta_s": None}
    assert [file["language"] for file in done["files"]] == ["en", "de"]
    assert [file["duration_s"] for file in done["files"]] == [duration_s(3), duration_s(1)]
    assert done["expires_at"] == pytest.approx(done["ended_at"] + 168 * 3600, abs=1)
    results = done["files"][0]["results"]
    texts = {name: (await served.client.get(path)).text for name, path in results.items()}
    assert texts["txt"] == "one. two. three.\n"
    assert "00:00:12,500 --> 00:00:21,500\ntwo." in texts["srt"]
    assert texts["vtt"].startswith("WEBVTT\n\n00:00:01.500 --> 00:00:10.500\none.")
    verbose = json.loads(texts["json"])
    assert [segment["id"] for segment in verbose["segments"]] == [0, 1, 2]
    assert verbose["duration"] == duration_s(3)
    assert verbose["language"] == "english"
    assert "words" not in verbose


async def test_each_window_is_asked_for_in_the_language_that_was_fixed(served: Served, asr: Asr) -> None:
    job = await begun(served, recording("un", "deux", language="fr"), word_timestamps="true", formats="json")
    done = await ended(served, job["id"])
    for form in asr.forms:
        assert 'name="precut"\r\n\r\ntrue' in form
        assert 'name="language"\r\n\r\nfr' in form
        assert 'name="temperature"\r\n\r\n0' in form
        assert form.count("timestamp_granularities[]") == 2
    verbose = (await served.client.get(done["files"][0]["results"]["json"])).json()
    assert [(word["word"], word["start"]) for word in verbose["words"]] == [("un.", 1.5), ("deux.", 12.5)]


async def test_one_bad_file_fails_alone(served: Served, asr: Asr) -> None:
    job = await begun(served, b"no recording", recording("good"), recording("so", "BOOM", "far"), b"")
    done = await ended(served, job["id"])
    assert done["status"] == "completed"
    assert [file["status"] for file in done["files"]] == ["failed", "completed", "failed", "failed"]
    assert done["files"][0]["error"] == {"code": "bad_audio", "message": "this is no recording"}
    assert done["files"][2]["error"] == {"code": "engine_failed", "message": "the engine stumbled"}
    assert done["files"][2]["results"] == {}
    assert done["progress"]["percent"] == 100.0
    refused = await served.client.get(f"{JOBS}/{job['id']}/files/2/txt")
    assert refused.status_code == 404
    assert "failed" in refused.json()["error"]["message"]


async def test_a_job_fails_when_every_file_does(served: Served, asr: Asr) -> None:
    done = await ended(served, (await begun(served, b"no", b"neither"))["id"])
    assert done["status"] == "failed"
    assert done["error"]["code"] == "all_files_failed"


async def test_nobody_speaks(served: Served, asr: Asr) -> None:
    job = await begun(served, recording(language=None), formats="txt,srt,vtt,json")
    done = await ended(served, job["id"])
    assert done["status"] == "completed"
    assert done["files"][0]["language"] is None
    texts = {name: (await served.client.get(path)).text for name, path in done["files"][0]["results"].items()}
    assert (texts["txt"], texts["srt"], texts["vtt"]) == ("\n", "", "WEBVTT\n\n")
    assert json.loads(texts["json"])["segments"] == []


async def test_a_full_disk_puts_a_recording_off_then_fails_it(served: Served, asr: Asr) -> None:
    asr.full = 1
    done = await ended(served, (await begun(served, recording("a"), recording("b")))["id"])
    assert [file["status"] for file in done["files"]] == ["completed", "completed"]
    asr.full = 100
    done = await ended(served, (await begun(served, recording("c")))["id"])
    assert done["files"][0]["error"]["code"] == "insufficient_storage"


async def test_files_that_were_uploaded_before(served: Served, asr: Asr, redis: Redis) -> None:
    file = {"file": ("talk.ogg", recording("kept"))}
    file_id = (await served.client.post("/v1/files", files=file, data={"purpose": "transcription"})).json()["id"]
    job = (await served.client.post(JOBS, json={"file_ids": [file_id], "formats": ["srt", "txt"]})).json()
    done = await ended(served, job["id"])
    assert done["files"][0]["name"] == "talk.ogg"
    assert list(done["files"][0]["results"]) == ["srt", "txt"]
    assert (await served.client.delete(f"{JOBS}/{job['id']}")).status_code == 200
    assert (await served.client.get(f"/v1/files/{file_id}/content")).content == recording("kept")

    job = (await served.client.post(JOBS, files={"file_ids": (None, f"{file_id},{file_id}")})).json()
    assert len(job["files"]) == 2
    _, other = await served.front.members.add("eve", Role.ADULT)
    stolen = await served.client.post(JOBS, json={"file_ids": [file_id]}, headers={"Authorization": f"Bearer {other}"})
    assert stolen.status_code == 404


async def test_members_see_only_their_own(served: Served, asr: Asr, redis: Redis) -> None:
    job = await ended(served, (await begun(served, recording("secret")))["id"])
    _, other = await served.front.members.add("eve", Role.ADULT)
    async with httpx.AsyncClient(base_url=served.url, headers={"Authorization": f"Bearer {other}"}) as eve:
        assert (await eve.get(JOBS)).json()["data"] == []
        path = f"{JOBS}/{job['id']}"
        for response in (
            await eve.get(path),
            await eve.get(f"{path}/events"),
            await eve.get(f"{path}/results.zip"),
            await eve.get(f"{path}/files/0/txt"),
            await eve.post(f"{path}/cancel"),
            await eve.delete(path),
        ):
            assert response.status_code == 404


async def test_newest_first_page_by_page(served: Served, asr: Asr) -> None:
    ids = [(await begun(served, recording(str(n))))["id"] for n in range(3)]
    first = (await served.client.get(JOBS, params={"limit": 2})).json()
    assert [job["id"] for job in first["data"]] == [ids[2], ids[1]]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (ids[2], ids[1], True)
    rest = (await served.client.get(JOBS, params={"after": first["last_id"]})).json()
    assert [job["id"] for job in rest["data"]] == [ids[0]]
    assert rest["has_more"] is False


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"formats": "txt,docx"}, "formats", "unknown_format"),
        ({"language": "klingon"}, "language", "unknown_language"),
        ({"word_timestamps": "perhaps"}, "word_timestamps", "invalid_value"),
        ({"webhook_url": "https://example.com/"}, "webhook_url", "webhooks_off"),
        ({"model": "nobody"}, "model", "model_not_found"),
        ({"model": "chat"}, "model", "unsupported_task"),
        ({"file_ids": "file-unknown"}, "file_id", "file_not_found"),
    ],
)
async def test_what_is_refused(served: Served, fields: dict[str, str], param: str, code: str) -> None:
    refused = await served.client.post(JOBS, files=uploads(recording("x")), data=fields)
    assert refused.status_code in (400, 404)
    assert (refused.json()["error"]["param"], refused.json()["error"]["code"]) == (param, code)
    assert await served.front.blobs.older_than(-60) == []
    assert (await served.client.get(JOBS)).json()["data"] == []


async def test_no_files_and_too_many(served: Served) -> None:
    none = await served.client.post(JOBS, data={"formats": "txt"}, files={"formats": (None, "txt")})
    assert (none.status_code, none.json()["error"]["code"]) == (400, "missing_file")
    none = await served.client.post(JOBS, json={"file_ids": []})
    assert (none.status_code, none.json()["error"]["code"]) == (400, "missing_file")
    many = await served.client.post(JOBS, files=uploads(*[recording("x")] * 6))
    assert (many.status_code, many.json()["error"]["code"]) == (400, "too_many_files")
    large = await served.client.post(JOBS, files=uploads(bytes(600_000), bytes(600_000)))
    assert large.status_code == 413
    assert await served.front.blobs.older_than(-60) == []


async def test_events_replay_from_anywhere(served: Served, asr: Asr) -> None:
    job = await begun(served, recording("one"), b"bad")
    live = await followed(served, job["id"])
    types = [event["type"] for event in live]
    assert types[0] == "job.running"
    assert types[-1] == "job.completed"
    assert sorted(types[1:-1]) == ["file.completed", "file.failed", "file.prepared", "file.progress"]
    failed = next(event for event in live if event["type"] == "file.failed")
    assert failed["data"]["file"]["error"]["code"] == "bad_audio"
    assert failed["data"]["id"] == job["id"]
    assert live[-1]["data"]["progress"]["percent"] == 100.0

    assert await followed(served, job["id"]) == live
    assert await followed(served, job["id"], **{"Last-Event-ID": live[2]["id"]}) == live[3:]
    assert await followed(served, job["id"], **{"Last-Event-ID": live[-1]["id"]}) == []
    wrong = await served.client.get(f"{JOBS}/{job['id']}/events", headers={"Last-Event-ID": "yesterday"})
    assert wrong.status_code == 400


async def test_cancel_keeps_what_is_completed(served: Served, asr: Asr) -> None:
    asr.open.clear()
    job = await begun(served, recording("first"), recording("second", "third"))
    path = f"{JOBS}/{job['id']}"

    async def is_prepared() -> bool:
        return all(file["duration_s"] for file in (await got(served, job["id"]))["files"])

    await until(is_prepared, "both are prepared")
    following = asyncio.create_task(followed(served, job["id"]))
    cancelled = (await served.client.post(f"{path}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    assert [file["status"] for file in cancelled["files"]] == ["cancelled", "cancelled"]
    assert (await following)[-1]["type"] == "job.cancelled"
    again = (await served.client.post(f"{path}/cancel")).json()
    assert again["ended_at"] == cancelled["ended_at"]

    async def is_withdrawn() -> bool:
        return not await served.front.redis.zrange(keys.WORK, 0, -1)

    await until(is_withdrawn, "nobody drives it any more")
    asr.open.set()
    assert (await got(served, job["id"]))["status"] == "cancelled"
    assert (await served.client.get(f"{path}/files/0/txt")).status_code == 404

    finished = await ended(served, (await begun(served, recording("done")))["id"])
    assert (await served.client.post(f"{JOBS}/{finished['id']}/cancel")).json()["status"] == "completed"


async def test_delete_leaves_nothing(served: Served, asr: Asr, redis: Redis) -> None:
    asr.open.clear()
    job = await begun(served, recording("gone"))
    following = asyncio.create_task(followed(served, job["id"]))
    await until(lambda: bool(asr.cuts), "it is cut")
    assert (await served.client.delete(f"{JOBS}/{job['id']}")).json()["deleted"] is True
    assert (await served.client.get(f"{JOBS}/{job['id']}")).status_code == 404
    assert (await served.client.get(JOBS)).json()["data"] == []
    await asyncio.wait_for(following, 20)
    assert not await redis.exists(keys.transcription(job["id"]), keys.transcription_events(job["id"]))

    async def is_gone() -> bool:
        return not await redis.zrange(keys.WORK, 0, -1)

    await until(is_gone, "nobody drives it any more")
    assert not [name for name in await served.front.blobs.older_than(-60) if "/audio/" in name]


async def test_only_recordings_and_results_stay(served: Served, asr: Asr) -> None:
    job = await ended(served, (await begun(served, recording("a", "b"), b"bad", formats="txt,vtt"))["id"])
    folder = f"transcriptions/{job['id']}"

    async def is_tidy() -> bool:
        kept = set(await served.front.blobs.older_than(-60))
        return kept == {f"{folder}/audio/0", f"{folder}/audio/1", f"{folder}/results/0.txt", f"{folder}/results/0.vtt"}

    await until(is_tidy, "what is of no use is deleted")


async def test_everything_expires_with_the_job(served: Served, asr: Asr, redis: Redis) -> None:
    job = await ended(served, (await begun(served, recording("a")))["id"])
    for key in (keys.transcription(job["id"]), keys.transcription_events(job["id"])):
        assert 0 < await redis.pttl(key) <= 168 * 3600 * 1000


async def test_names_are_data(served: Served, asr: Asr) -> None:
    names = ["../../etc/passwd", "passwd.wav", "two\nlines.mp3", "Übung 漢字.m4a"]
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="'
        + name.encode().replace(b"\n", b"%0A")
        + b'"\r\n\r\n'
        + recording(f"w{n}")
        + b"\r\n"
        for n, name in enumerate(names)
    )
    headers = {"content-type": "multipart/form-data; boundary=x"}
    created = await served.client.post(JOBS, content=body + b"--x--\r\n", headers=headers)
    done = await ended(served, created.json()["id"])
    assert done["files"][0]["name"] == "../../etc/passwd"
    assert done["files"][3]["name"] == "Übung 漢字.m4a"
    one = await served.client.get(done["files"][0]["results"]["txt"])
    assert 'filename="passwd.txt"' in one.headers["content-disposition"]
    zipped = await served.client.get(f"{JOBS}/{done['id']}/results.zip")
    assert zipped.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as opened:
        assert opened.testzip() is None
        found = {name: opened.read(name) for name in opened.namelist()}
    assert found["passwd.txt"] == b"w0.\n"
    assert found["passwd-2.txt"] == b"w1.\n"
    assert found["Übung 漢字.txt"] == b"w3.\n"
    assert len(found) == 4


async def test_results_that_are_not_there_say_why(served: Served, asr: Asr) -> None:
    asr.open.clear()
    job = await begun(served, recording("slow"))
    path = f"{JOBS}/{job['id']}/files"
    for index, format_name, word in ((0, "txt", "file is"), (0, "srt", "makes: txt"), (1, "txt", "has 1 files")):
        response = await served.client.get(f"{path}/{index}/{format_name}")
        assert response.status_code == 404
        assert word in response.json()["error"]["message"]
    empty = await served.client.get(f"{JOBS}/{job['id']}/results.zip")
    with zipfile.ZipFile(io.BytesIO(empty.content)) as opened:
        assert opened.namelist() == []


async def test_a_killed_worker_costs_a_window(served: Served, asr: Asr, redis: Redis) -> None:
    """The job goes on where it stood, with another worker, and its result is that of an undisturbed run."""
    words = [f"w{n}" for n in range(6)]
    calm = await ended(served, (await begun(served, recording(*words), formats="txt,json"))["id"])
    asr.heard.clear()
    asr.cuts.clear()
    asr.open.clear()
    job = await begun(served, recording(*words), formats="txt,json")
    await until(lambda: bool(asr.cuts), "it is cut")
    asr.open.set()
    await until(lambda: len(asr.heard) >= 2, "a part is heard")
    asr.open.clear()
    await asr.stop()

    second = Asr(ScriptedWorker(redis, QUEUE, id="worker-2"), served.front.blobs, heard=asr.heard, cuts=asr.cuts)
    second.open.set()
    second.start()
    try:
        done = await ended(served, job["id"])
    finally:
        await second.stop()
    assert done["status"] == "completed", (done["files"][0]["error"], asr.heard)
    assert sum(asr.cuts.values()) == 1
    assert set(asr.heard) == set(words)
    assert sum(asr.heard.values()) <= len(words) + 2  # as many as were under way
    for name, path in done["files"][0]["results"].items():
        calm_path = calm["files"][0]["results"][name]
        assert (await served.client.get(path)).content == (await served.client.get(calm_path)).content


async def test_progress_and_eta_while_it_runs(served: Served, asr: Asr) -> None:
    asr.open.clear()
    job = await begun(served, recording(*[f"w{n}" for n in range(8)]))
    await until(lambda: bool(asr.cuts), "it is cut")
    real, places = asr._hear, asyncio.Semaphore(4)

    async def some(claim: Any) -> Any:
        await places.acquire()
        return await real(claim)

    asr._hear = some  # type: ignore[method-assign]
    asr.open.set()

    async def is_half() -> bool:
        return (await got(served, job["id"]))["progress"]["done_s"] == 4 * 11.0

    await until(is_half, "half of it is done")
    progress = (await got(served, job["id"]))["progress"]
    assert progress["total_s"] == duration_s(8)
    assert progress["percent"] == round(100 * 44 / duration_s(8), 1)
    assert progress["eta_s"] is not None
    assert (await got(served, job["id"]))["files"][0]["status"] == "running"
    assert time.time() >= (await got(served, job["id"]))["started_at"]
