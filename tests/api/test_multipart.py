"""Forms are read as they arrive: files into the store, whole or not at all; whatever else a client sends is refused."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message

from api.multipart import FIELD_BYTES, MOST_PARTS, Form, stored_form, written
from familyai.blobs import BlobStore
from familyai.errors import BadRequest, InsufficientStorage, RequestError, TooLarge

FILES = frozenset({"file", "files"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(folder: Path) -> BlobStore:
    return BlobStore(folder.as_uri())


def part(disposition: str, data: bytes) -> bytes:
    return b"--B\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + data + b"\r\n"


def field(name: str, value: str) -> bytes:
    return part(f'name="{name}"', value.encode())


def file(data: bytes, filename: str = "a.mp3", name: str = "file") -> bytes:
    return part(f'name="{name}"; filename="{filename}"', data)


def request(
    body: bytes, *, chunk: int = 50_000, content_type: str = "multipart/form-data; boundary=B", leaves: bool = False
) -> Request:
    """A request that arrives in pieces, without an announced length, as chunked transfer encoding brings it."""
    pieces = [body[start : start + chunk] for start in range(0, len(body), chunk)]
    messages: Iterator[Message] = iter([{"type": "http.request", "body": piece, "more_body": True} for piece in pieces])
    end: Message = {"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b"", "more_body": False}

    async def receive() -> Message:
        return next(messages, end)

    return Request({"type": "http", "headers": [(b"content-type", content_type.encode())]}, receive)


async def read(blobs: BlobStore, sent: Request, limit_bytes: int = 10_000_000) -> Form:
    names = (f"files/{number}" for number in itertools.count())
    async with stored_form(sent, blobs, limit_bytes, FILES, lambda: next(names)) as form:
        return form


async def stored(blobs: BlobStore) -> list[str]:
    return await blobs.older_than(-60)


END = b"--B--\r\n"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=3000), chunk=st.integers(1, 700))
async def test_a_form_is_the_same_however_it_arrives(blobs: BlobStore, data: bytes, chunk: int) -> None:
    body = field("model", "whisper-1") + file(data, "träf\nfic/../a.mp3") + field("language", "de") + END
    form = await read(blobs, request(body, chunk=chunk))
    assert form.fields == [("model", "whisper-1"), ("language", "de")]
    assert [(upload.field, upload.size_bytes) for upload in form.uploads] == [("file", len(data))]
    assert await blobs.get("files/0") == data


async def test_names_of_files_are_data(blobs: BlobStore, folder: Path) -> None:
    names = ["../../etc/passwd", "/var/x", "zoë 🎙️.m4a", "a" * 1000, ""]
    body = b"".join(file(b"x", name, "files") for name in names) + END
    form = await read(blobs, request(body))
    assert [upload.filename for upload in form.uploads] == ["../../etc/passwd", "/var/x", "zoë 🎙️.m4a", "a" * 255, ""]
    assert sorted(await stored(blobs)) == [f"files/{number}" for number in range(5)]


async def test_a_file_without_a_file_name_is_still_a_file(blobs: BlobStore) -> None:
    form = await read(blobs, request(part('name="file"', b"sound") + END))
    assert form.uploads[0].size_bytes == 5


def test_lists_with_and_without_brackets() -> None:
    form = Form(fields=[("a[]", "1"), ("a", "2"), ("b", ""), ("b", "x")])
    assert form.all("a") == ["1", "2"]
    assert (form.get("b"), form.get("c")) == ("x", None)


REFUSED = {
    "no form": (request(b"{}", content_type="application/json"), BadRequest, "multipart/form-data"),
    "no boundary": (request(b"", content_type="multipart/form-data"), BadRequest, "boundary"),
    "no body": (request(b""), BadRequest, "ends in the middle"),
    "cut off": (request(file(b"x" * 100)), BadRequest, "ends in the middle"),
    "noise": (request(b"\x00\xff" * 100), BadRequest, "malformed"),
    "no name": (request(part('filename="x"', b"x") + END), BadRequest, "name"),
    "a file elsewhere": (request(file(b"x", name="picture") + END), BadRequest, "no file is expected"),
    "too many parts": (request(field("a", "b") * (MOST_PARTS + 1) + END), BadRequest, "at most"),
    "long fields": (request(field("a", "x" * FIELD_BYTES) + field("b", "x") + END), TooLarge, "fields"),
    "a long field": (request(field("a", "x" * (FIELD_BYTES + 1)) + END), TooLarge, "fields"),
    "a long header": (request(b"--B\r\n" + b"x" * 100_000 + b": y\r\n\r\n" + END), BadRequest, "malformed"),
    "two files too large": (request((file(b"x" * 6_000_000)) * 2 + END), TooLarge, "10 MB"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_leaves_nothing(blobs: BlobStore, name: str) -> None:
    sent, kind, words = REFUSED[name]
    with pytest.raises(kind, match=words):
        await read(blobs, sent)
    assert await stored(blobs) == []


async def test_an_announced_length_over_the_limit_is_refused_unread(blobs: BlobStore) -> None:
    async def never() -> Message:
        raise AssertionError("read")

    headers = [(b"content-type", b"multipart/form-data; boundary=B"), (b"content-length", b"999999999999")]
    with pytest.raises(TooLarge):
        await read(blobs, Request({"type": "http", "headers": headers}, never))


async def test_an_upload_without_an_end_is_stopped_at_the_limit(blobs: BlobStore) -> None:
    sent = 0

    async def receive() -> Message:
        nonlocal sent
        sent += 100_000
        return {"type": "http.request", "body": b"x" * 100_000 if sent > 100_000 else file(b""), "more_body": True}

    headers = [(b"content-type", b"multipart/form-data; boundary=B")]
    with pytest.raises(RequestError):
        await read(blobs, Request({"type": "http", "headers": headers}, receive), limit_bytes=1_000_000)
    assert sent < 10_000_000
    assert await stored(blobs) == []


async def test_a_client_that_leaves_leaves_nothing_behind(blobs: BlobStore) -> None:
    with pytest.raises(ClientDisconnect):
        await read(blobs, request(file(b"one") + file(b"x" * 3_000_000), leaves=True))
    assert await stored(blobs) == []


async def test_what_fails_after_the_reading_leaves_nothing_either(blobs: BlobStore) -> None:
    async def use() -> None:
        async with stored_form(request(file(b"one") + END), blobs, 1000, FILES, lambda: "files/0"):
            raise BadRequest("no such model")

    with pytest.raises(BadRequest):
        await use()
    assert await stored(blobs) == []


async def test_a_full_disk_is_507(folder: Path) -> None:
    blobs = BlobStore(folder.as_uri(), reserve_gb=1e9)
    with pytest.raises(InsufficientStorage):
        await read(blobs, request(file(b"one") + END))
    assert await stored(blobs) == []


async def test_what_we_write_is_what_we_read(blobs: BlobStore) -> None:
    fields = [("model", "org/whisper"), ("prompt", "--B--\r\nZoë")]
    content_type, head, tail = written(fields, "file", "audio")

    form = await read(blobs, request(head + b"\r\n--sound--" + tail, content_type=content_type))

    assert form.fields == fields
    assert await blobs.get("files/0") == b"\r\n--sound--"
