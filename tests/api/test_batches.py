"""Batches as the `openai` client uses them, from an input file to output files, with a worker that a test scripts."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest
from redis.asyncio import Redis

from api.work import batches as driving
from api.work import leader
from api.work.batches import BatchDriver
from api.work.dispatch import Dispatcher
from familyai import cancel, keys
from familyai.allowance import Role
from familyai.batches import Batch, Status, Verdict, line_blob
from familyai.catalogue import Profile
from familyai.jobs import Claim
from tests.api.batching import CHAT, Answering, a_line, begun, content, counts, ended, jsonl
from tests.api.support import PROFILE, ScriptedWorker, Served, until


@pytest.fixture
def profile() -> Profile:
    asr = {"model": "org/asr", "engine": "whisper", "memory_gb": 1, "slots": 1, "tasks": ["transcribe"]}
    limits = PROFILE["limits"] | {"batch_lines": 20}
    return Profile.model_validate(PROFILE | {"limits": limits, "queues": PROFILE["queues"] | {"asr": asr}})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((leader, "INTERVAL_S"), (leader, "REST_S"), (driving, "LOOK_S"), (driving, "REST_S")):
        monkeypatch.setattr(module, name, 0.02)


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0) as made:
        yield made


@pytest.fixture
async def answering(worker: ScriptedWorker) -> AsyncIterator[Answering]:
    made = Answering(worker)
    task = asyncio.create_task(made.run())
    yield made
    await cancel.end([task])


async def test_every_line_gets_its_answer(served: Served, client: openai.AsyncOpenAI, answering: Answering) -> None:
    async def answer(claim: Claim, body: dict[str, Any]) -> None:
        if body["say"] == "rude":
            await answering.worker.answer(claim, b'{"error": {"message": "rude"}}', status=400)
        else:
            await answering.echo(claim, body)

    answering.answer = answer
    lines = [a_line(f"line {number}") for number in range(9)]
    lines[2:2] = [
        a_line("rude"),
        a_line("unknown", model="gpt-9"),
        a_line("streamed", stream=True),
        a_line("wide", n=9),
    ]
    batch = await begun(client, jsonl(*lines), metadata={"why": "test"})
    assert batch.metadata == {"why": "test"}
    batch = await ended(client, batch.id)

    assert (batch.status, counts(batch)) == ("completed", (13, 9, 4))
    assert batch.errors is None
    assert batch.in_progress_at
    assert batch.finalizing_at
    assert batch.completed_at
    assert batch.expires_at == batch.created_at + 86400
    output = await content(client, batch.output_file_id)
    assert [line["custom_id"] for line in output] == [f"line {number}" for number in range(9)]
    assert [line["response"]["body"]["said"] for line in output] == [f"line {number}" for number in range(9)]
    assert {line["response"]["status_code"] for line in output} == {200}
    errors = await content(client, batch.error_file_id)
    assert [line["custom_id"] for line in errors] == ["rude", "unknown", "streamed", "wide"]
    assert [line["response"]["status_code"] for line in errors] == [400, 404, 400, 400]
    assert errors[1]["response"]["body"]["error"]["code"] == "model_not_found"

    assert {claim.job.priority for claim in answering.claims} == {"batch"}
    assert {body["model"] for body in answering.asked} == {"org/chat"}
    file = await client.files.retrieve(str(batch.output_file_id))
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    await until(lambda: _nothing_left(served, batch.id), "only files are left")


async def _nothing_left(served: Served, batch_id: str) -> bool:
    names = await served.front.blobs.older_than(-60)
    return not any(name.startswith("batches/") for name in names) and not await served.front.redis.exists(keys.WORK)


@pytest.mark.parametrize(
    ("input_bytes", "found"),
    [
        (b"", [("empty_file", None)]),
        (b"\n \n", [("empty_file", None)]),
        (b"nonsense\n" + jsonl(a_line("a"), a_line("a")), [("invalid_json_line", 1), ("duplicate_custom_id", 3)]),
        (jsonl(a_line("a", url="/v1/embeddings")), [("url_mismatch", 1)]),
        (jsonl(*(a_line(str(number)) for number in range(21))), [("too_many_tasks", None)]),
        (b"x" * 600_000, [("line_too_large", 1)]),
    ],
)
async def test_an_input_that_is_not_sound(
    client: openai.AsyncOpenAI, input_bytes: bytes, found: list[tuple[str, int | None]]
) -> None:
    batch = await ended(client, (await begun(client, input_bytes)).id)
    assert batch.status == "failed"
    assert batch.failed_at
    assert batch.errors
    assert [(problem.code, problem.line) for problem in batch.errors.data or []] == found
    assert (batch.output_file_id, batch.error_file_id) == (None, None)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"endpoint": "/v1/images/generations"}, "endpoint"),
        ({"completion_window": "1y"}, "completion_window"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"extra_body": {"input_file_id": 7}}, "input_file_id"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
    ],
)
async def test_what_is_refused_at_once(client: openai.AsyncOpenAI, more: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await begun(client, jsonl(a_line("a")), **more)
    assert refused.value.param == param
    assert [batch async for batch in client.batches.list()] == []


async def test_the_input_must_be_there_and_meant_for_it(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.batches.create(input_file_id="file-x", endpoint=CHAT, completion_window="24h")
    file = await client.files.create(file=b"x", purpose="user_data")
    with pytest.raises(openai.BadRequestError):
        await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")


async def test_lists_and_other_people(served: Served, client: openai.AsyncOpenAI) -> None:
    made = [(await begun(client, b"")).id for _ in range(5)]
    assert [batch.id async for batch in client.batches.list(limit=2)] == made[::-1]
    page = await client.batches.list(limit=4)
    assert (page.has_more, len(page.data)) == (True, 4)
    _, key = await served.front.members.add("bob", Role.ADULT)
    bob = client.with_options(api_key=key)
    assert [batch async for batch in bob.batches.list()] == []
    for asked in (bob.batches.retrieve, bob.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            await asked(made[0])


async def test_a_cancelled_batch_keeps_what_is_done(
    served: Served, client: openai.AsyncOpenAI, answering: Answering
) -> None:
    async def answer(claim: Claim, body: dict[str, Any]) -> None:
        if body["say"] == "quick":
            await answering.echo(claim, body)

    answering.answer = answer
    batch = await begun(client, jsonl(a_line("slow"), a_line("quick"), *(a_line(str(n)) for n in range(8))))
    await until(lambda: _counted(client, batch.id, (10, 1, 0)), "the quick one is done")
    await until(lambda: len(answering.claims) >= 5, "the others run")
    assert (await client.batches.cancel(batch.id)).status == "cancelling"
    batch = await ended(client, batch.id)

    assert (batch.status, counts(batch), batch.error_file_id) == ("cancelled", (10, 1, 0), None)
    assert batch.cancelling_at
    assert batch.cancelled_at
    assert [line["custom_id"] for line in await content(client, batch.output_file_id)] == ["quick"]
    running = [
        claim.job.id for claim, body in zip(answering.claims, answering.asked, strict=True) if body["say"] != "quick"
    ]
    await until(lambda: _are(served, running, b"cancelled"), "what ran was stopped")
    with pytest.raises(openai.BadRequestError) as refused:
        await client.batches.cancel(batch.id)
    assert refused.value.code == "batch_not_cancellable"


async def _counted(client: openai.AsyncOpenAI, batch_id: str, wanted: tuple[int, int, int]) -> bool:
    return counts(await client.batches.retrieve(batch_id)) == wanted


async def _are(served: Served, job_ids: list[str], state: bytes) -> bool:
    states = [await served.front.redis.hget(keys.job(job_id), "state") for job_id in job_ids]
    return all(found == state for found in states)


async def test_an_input_that_was_deleted(served: Served, client: openai.AsyncOpenAI, answering: Answering) -> None:
    file = await client.files.create(file=jsonl(a_line("a")), purpose="batch")
    await served.front.blobs.delete(f"files/{file.id}")
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    batch = await ended(client, batch.id)
    assert batch.status == "failed"
    assert batch.errors
    assert [problem.code for problem in batch.errors.data or []] == ["file_not_found"]


async def test_the_input_lives_as_long_as_the_batch(client: openai.AsyncOpenAI) -> None:
    batch = await begun(client, b"", completion_window="30d")
    file = await client.files.retrieve(batch.input_file_id)
    assert file.expires_at
    assert file.expires_at > batch.created_at + 30 * 24 * 3600


async def test_a_recording_in_a_line(client: openai.AsyncOpenAI, redis: Redis) -> None:
    worker = ScriptedWorker(redis, queue="asr", id="worker-asr")
    await worker.beat()
    audio = await client.files.create(file=b"sound", purpose="user_data")
    url = "/v1/audio/transcriptions"
    fields = {"model": "asr", "response_format": "srt", "timestamp_granularities": ["word"]}
    lines = [a_line("a", url, file=audio.id, **fields), a_line("b", url, **fields, file="file-x"), a_line("c", url)]
    batch = await begun(client, jsonl(*lines), endpoint=url)
    claim = await worker.take()
    assert claim.job.blob
    assert (claim.job.blob.name, claim.job.blob.length) == (f"files/{audio.id}", 5)
    assert b'name="timestamp_granularities[]"\r\n\r\nword' in claim.job.body
    assert b'name="model"\r\n\r\norg/asr' in claim.job.body
    assert b"file-" not in claim.job.body
    await worker.answer(claim, b"1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    batch = await ended(client, batch.id)

    (line,) = await content(client, batch.output_file_id)
    assert line["response"]["body"]["text"].endswith("Hello\n")
    errors = await content(client, batch.error_file_id)
    assert [(line["custom_id"], line["response"]["status_code"]) for line in errors] == [("b", 404), ("c", 400)]


async def a_batch_on_record(served: Served, count: int, **change: Any) -> Batch:
    """As though an earlier leader had begun it; nobody drives it yet."""
    front, now_s = served.front, time.time()
    batch = Batch(
        id="batch_x",
        member="ada",
        endpoint=CHAT,
        input_file_id="file-x",
        completion_window="24h",
        created_at_s=now_s,
        expires_at_s=now_s + 3600,
        output_keep_s=3600,
    )
    batch = msgspec.structs.replace(batch, **change)
    await front.blobs.put("files/file-x", jsonl(*(a_line(f"line {number}") for number in range(1, count + 1))))
    await front.batches.create(batch)
    await front.redis.delete(keys.WORK)
    await front.batches.begin(batch.id, count)
    return batch


async def test_what_is_not_done_in_time(served: Served, client: openai.AsyncOpenAI) -> None:
    batch = await a_batch_on_record(served, 3, expires_at_s=time.time() - 1)
    await served.front.blobs.put(line_blob(batch.id, 2, Verdict.COMPLETED), b'{"custom_id": "line 2"}\n')
    await served.front.batches.mark(batch.id, 2, Verdict.COMPLETED)
    await BatchDriver(served.front, Dispatcher(served.front)).drive(batch.id)

    found = await client.batches.retrieve(batch.id)
    assert (found.status, counts(found)) == ("expired", (3, 1, 0))
    assert found.expired_at
    assert [line["custom_id"] for line in await content(client, found.output_file_id)] == ["line 2"]
    late = await content(client, found.error_file_id)
    assert [(line["custom_id"], line["error"]["code"]) for line in late] == [
        ("line 1", "batch_expired"),
        ("line 3", "batch_expired"),
    ]


async def test_a_leader_that_dies_costs_no_answer(
    served: Served, client: openai.AsyncOpenAI, answering: Answering
) -> None:
    async def answer(claim: Claim, body: dict[str, Any]) -> None:
        if len(answering.claims) <= 3 or second_life:
            await answering.echo(claim, body)

    answering.answer, second_life = answer, False
    batch = await a_batch_on_record(served, 9)
    store = served.front.batches
    first = asyncio.create_task(BatchDriver(served.front, Dispatcher(served.front)).drive(batch.id))
    await until(lambda: _marked(served, 3), "three are done")
    await cancel.end([first])
    done = set(await store.marks(batch.id))
    await served.front.blobs.put(line_blob(batch.id, 9, Verdict.FAILED), b"stored, not yet marked")
    await served.front.blobs.put(line_blob(batch.id, min(done), Verdict.FAILED), b"from somebody who came too late")
    asked_before, second_life = len(answering.asked), True
    await BatchDriver(served.front, Dispatcher(served.front)).drive(batch.id)

    found = await client.batches.retrieve(batch.id)
    assert (found.status, counts(found)) == ("completed", (9, 9, 0))
    output = await content(client, found.output_file_id)
    assert [line["custom_id"] for line in output] == [f"line {number}" for number in range(1, 10)]
    assert found.error_file_id is None
    asked_again = {body["say"] for body in answering.asked[asked_before:]}
    assert asked_again == {f"line {number}" for number in range(1, 10) if number not in done}


async def _marked(served: Served, count: int) -> bool:
    return len(await served.front.batches.marks("batch_x")) == count


async def test_a_leader_that_dies_while_it_writes_files(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doing it again makes the same files, not second ones."""
    batch = await a_batch_on_record(served, 1)
    front = served.front
    await front.blobs.put(line_blob(batch.id, 1, Verdict.COMPLETED), b'{"custom_id": "line 1"}\n')
    await front.batches.mark(batch.id, 1, Verdict.COMPLETED)

    async def dies(*words: object) -> bool:
        raise OSError("the process ended here")

    with monkeypatch.context() as patch:
        patch.setattr(front.batches, "end", dies)
        with pytest.raises(OSError, match="ended here"):
            await BatchDriver(front, Dispatcher(front)).drive(batch.id)
    (file,) = await front.files.all("ada")
    await BatchDriver(front, Dispatcher(front)).drive(batch.id)
    record = await front.batches.get(batch.id, "ada")
    assert (record.status, record.output_file_id) == (Status.COMPLETED, file.id)
    assert [other.id for other in await front.files.all("ada")] == [file.id]
    assert await front.blobs.get(file.blob) == b'{"custom_id": "line 1"}\n'


async def test_nothing_of_its_lines_stays_however_busy_the_disk_is(
    served: Served, client: openai.AsyncOpenAI, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees that a batch has ended stops its drive: that must not stop the tidying."""
    delete = served.front.blobs.delete

    async def slowly(name: str) -> None:
        await asyncio.sleep(10 * leader.INTERVAL_S)
        await delete(name)

    monkeypatch.setattr(served.front.blobs, "delete", slowly)
    await ended(client, (await begun(client, jsonl(a_line("a")))).id)
    await until(lambda: _nothing_left(served, ""), "everything is tidied up")


async def test_an_answer_outlasts_a_full_disk(
    served: Served, client: openai.AsyncOpenAI, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, refused = served.front.blobs.put, []

    async def full_at_first(name: str, data: bytes) -> None:
        if name.startswith("batches/") and len(refused) < 2:
            refused.append(name)
            raise OSError("full")
        await put(name, data)

    monkeypatch.setattr(served.front.blobs, "put", full_at_first)
    batch = await ended(client, (await begun(client, jsonl(a_line("a")))).id)
    assert (batch.status, counts(batch)) == ("completed", (1, 1, 0))
    assert (len(refused), len(answering.asked)) == (2, 1)


async def test_a_batch_that_keeps_crashing_is_given_up(
    served: Served, client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*words: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(driving, "InputCheck", crash)
    batch = await ended(client, (await begun(client, jsonl(a_line("a")))).id)
    assert batch.status == "failed"
    assert batch.errors
    assert [problem.code for problem in batch.errors.data or []] == ["internal_error"]
