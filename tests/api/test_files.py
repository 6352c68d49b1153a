"""Files as the `openai` client uses them: uploaded whole, listed in pages, read back, deleted; each member's own."""

import asyncio
import errno
from typing import Any

import httpx
import openai
import pytest

from api.files import kept_s
from familyai.allowance import Role
from familyai.errors import BadRequest
from tests.api.support import Served

DAY_S = 24 * 3600


@pytest.fixture
async def client(served: Served) -> Any:
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0) as made:
        yield made


async def stored(served: Served) -> list[str]:
    return await served.front.blobs.older_than(-60)


async def test_there_and_back(served: Served, client: openai.AsyncOpenAI) -> None:
    content = bytes(range(256)) * 12_000  # more than one chunk
    made = await client.files.create(file=("../naïve\n東京.jsonl", content), purpose="batch")
    assert (made.bytes, made.purpose, made.status) == (len(content), "batch", "processed")
    assert made.expires_at == made.created_at + 7 * DAY_S
    assert await client.files.retrieve(made.id) == made

    answer = await client.files.content(made.id)
    assert answer.content == content
    headers = answer.response.headers
    assert headers["content-length"] == str(len(content))
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith('attachment; filename="')
    assert "/" not in headers["content-disposition"]

    assert (await client.files.delete(made.id)).deleted
    assert await stored(served) == []
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.files.delete(made.id)


async def test_a_file_may_be_kept_for_less(client: openai.AsyncOpenAI) -> None:
    made = await client.files.create(
        file=b"x", purpose="batch", expires_after={"anchor": "created_at", "seconds": DAY_S}
    )
    assert made.expires_at == made.created_at + DAY_S


async def test_lists_come_in_pages(client: openai.AsyncOpenAI) -> None:
    made = [await client.files.create(file=(f"{n}.txt", b"x"), purpose="user_data") for n in range(5)]
    odd = await client.files.create(file=("b.jsonl", b"x"), purpose="batch")
    ids = [file.id for file in made]

    assert [file.id async for file in client.files.list(limit=2, purpose="user_data")] == ids[::-1]
    assert [file.id async for file in client.files.list(limit=2, order="asc")] == [*ids, odd.id]
    page = await client.files.list(limit=5, order="asc")
    assert page.has_more
    assert page.model_dump()["last_id"] == ids[-1]
    assert [file.id async for file in client.files.list(purpose="evals")] == []


async def test_others_do_not_see_them(served: Served, client: openai.AsyncOpenAI) -> None:
    made = await client.files.create(file=b"x", purpose="batch")
    _, key = await served.front.members.add("bob", Role.ADULT)
    bob = client.with_options(api_key=key)
    assert [file async for file in bob.files.list()] == []
    for asked in (bob.files.retrieve, bob.files.content, bob.files.delete):
        with pytest.raises(openai.NotFoundError):
            await asked(made.id)
    assert (await client.files.content(made.id)).content == b"x"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "purpose"),
        ({"purpose": "world peace"}, "purpose"),
        ({"purpose": "batch_output"}, "purpose"),
        ({"purpose": "batch", "expires_after[anchor]": "birth"}, "expires_after[anchor]"),
        (
            {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "soon"},
            "expires_after[seconds]",
        ),
    ],
)
async def test_what_is_refused_leaves_nothing(served: Served, fields: dict[str, str], param: str) -> None:
    answer = await served.client.post("/v1/files", data=fields, files={"file": b"content"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert await stored(served) == []


async def test_one_file_at_a_time(served: Served) -> None:
    none = await served.client.post("/v1/files", files={"purpose": (None, "batch")})
    two = await served.client.post("/v1/files", data={"purpose": "batch"}, files=[("file", b"a"), ("file", b"b")])
    assert [answer.json()["error"]["code"] for answer in (none, two)] == ["missing_file", "too_many_files"]
    assert await stored(served) == []


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": "many"}, {"order": "up"}, {"after": "file-x"}])
async def test_odd_lists(served: Served, query: dict[str, Any]) -> None:
    answer = await served.client.get("/v1/files", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(query)))


async def test_a_file_over_the_limit(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = served.front.profile.limits.model_copy(update={"upload_mb": 0.001})
    monkeypatch.setitem(served.front.profile.__dict__, "limits", limits)
    answer = await served.client.post("/v1/files", data={"purpose": "batch"}, files={"file": b"x" * 1001})
    assert answer.status_code == 413
    assert await stored(served) == []


async def test_a_full_disk(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(size_bytes: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(served.front.blobs, "_check_room", full)
    answer = await served.client.post("/v1/files", data={"purpose": "batch"}, files={"file": b"x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "insufficient_storage")
    assert await stored(served) == []
    assert (await served.client.get("/v1/files")).json()["data"] == []


async def test_content_that_is_gone(served: Served, client: openai.AsyncOpenAI) -> None:
    made = await client.files.create(file=b"x", purpose="batch")
    await served.front.blobs.delete(f"files/{made.id}")
    with pytest.raises(openai.NotFoundError):
        await client.files.content(made.id)


async def test_an_upload_that_breaks_off(served: Served) -> None:
    async def half() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 100_000
        raise ConnectionResetError

    headers = {"content-type": "multipart/form-data; boundary=b"}
    with pytest.raises(ConnectionResetError):
        await served.client.post("/v1/files", content=half(), headers=headers)
    for _ in range(500):
        if await stored(served) == []:
            return
        await asyncio.sleep(0.01)
    pytest.fail("half a file stays")


async def test_nameless_and_empty(served: Served) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n'
    body += b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer: httpx.Response = await served.client.post("/v1/files", content=body, headers=headers)
    assert (answer.json()["filename"], answer.json()["bytes"]) == ("file", 0)
    assert (await served.client.get(f"/v1/files/{answer.json()['id']}/content")).content == b""


def test_how_long_files_are_kept() -> None:
    assert kept_s(None, None, 7 * DAY_S) == 7 * DAY_S
    assert kept_s("created_at", str(DAY_S), 7 * DAY_S) == DAY_S
    assert kept_s("created_at", str(30 * DAY_S), 7 * DAY_S) == 7 * DAY_S
    for seconds in ("3599", str(31 * DAY_S), "-1", "1e5", "", None, "9" * 30):
        with pytest.raises(BadRequest):
            kept_s("created_at", seconds, DAY_S)
