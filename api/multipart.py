"""Multipart forms: fields into memory, files straight into the blob store as they arrive."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.storage import storage_errors
from familyai.blobs import BlobStore
from familyai.errors import BadRequest, TooLarge

FIELD_BYTES = 1_000_000
"""All fields of a form together."""
MOST_PARTS = 2_000
LONGEST_FILENAME = 255


@dataclass(frozen=True)
class Upload:
    """A file of a form, whole in the blob store. Its `filename` is the client's words: data, never a path."""

    field: str
    filename: str
    blob: str
    size_bytes: int


@dataclass
class Form:
    """Fields in the order in which they came; a list's fields may be called `name` or `name[]`."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The last value, as with JSON; None for a field that is missing or empty."""
        return next(reversed(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key in (name, f"{name}[]") and value]


@asynccontextmanager
async def stored_form(
    request: Request, blobs: BlobStore, limit_bytes: int, file_fields: frozenset[str], new_blob: Callable[[], str]
) -> AsyncIterator[Form]:
    """The request's form. Should reading it or the block fail, what was stored of it is deleted again.

    `file_fields` hold files, each of which becomes a blob under a new name, all of them together within `limit_bytes`.
    Raises BadRequest, TooLarge, InsufficientStorage, Unavailable.
    """
    form = Form()
    try:
        await _read(request, blobs, limit_bytes, file_fields, new_blob, form)
        yield form
    except BaseException:
        for upload in form.uploads:
            with storage_errors():
                await blobs.delete(upload.blob)
        raise


def one_file(blob: str) -> Callable[[], str]:
    """`new_blob` for a form of one file: a second one is refused before it is stored."""
    names = iter((blob,))

    def new_blob() -> str:
        name = next(names, None)
        if name is None:
            raise BadRequest("send one file, as `file`", param="file", code="too_many_files")
        return name

    return new_blob


async def _read(
    request: Request,
    blobs: BlobStore,
    limit_bytes: int,
    file_fields: frozenset[str],
    new_blob: Callable[[], str],
    form: Form,
) -> None:
    field_bytes = file_bytes = 0
    async with aclosing(_parts(request, limit_bytes)) as parts:
        async for part in parts:
            if part.name not in file_fields:
                if part.filename is not None:
                    raise _misplaced(part.name[:64], file_fields)
                value = await part.text(FIELD_BYTES - field_bytes)
                field_bytes += len(value)
                form.fields.append((part.name, value))
                continue
            upload = await _store(part, blobs, new_blob())
            form.uploads.append(upload)
            file_bytes += upload.size_bytes
            if file_bytes > limit_bytes:
                raise _too_large(limit_bytes)


async def _store(part: "_Part", blobs: BlobStore, name: str) -> Upload:
    with storage_errors():
        async with blobs.writing(name) as writer:
            async for data in part.data:
                await writer.write(data)
    return Upload(part.name, (part.filename or "")[:LONGEST_FILENAME], name, writer.size_bytes)


def _misplaced(name: str, file_fields: frozenset[str]) -> BadRequest:
    return BadRequest(f"no file is expected under '{name}', but under '{', '.join(sorted(file_fields))}'", param=name)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"the upload is over the limit of {limit_bytes / 1e6:g} MB", param="file")


@dataclass(frozen=True)
class _Part:
    """One part, to be read before the next is asked for."""

    name: str
    filename: str | None
    data: AsyncGenerator[bytes, None]

    async def text(self, limit_bytes: int) -> str:
        value = bytearray()
        async for data in self.data:
            value += data
            if len(value) > limit_bytes:
                raise TooLarge(f"the form's fields are over {FIELD_BYTES / 1e6:g} MB", param=self.name[:64])
        return value.decode(errors="replace")


class _Tokens:
    """python_multipart's callbacks, in the order in which they came: headers of a part, its data, its end."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise BadRequest("send a form: Content-Type multipart/form-data with a boundary", param="Content-Type")
        self.whole = False
        self._ready: list[dict[bytes, bytes] | bytes | None] = []
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        callbacks = {name: getattr(self, f"_{name}") for name in _CALLBACKS}
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)  # type: ignore[arg-type]
        except FormParserError as error:
            raise _malformed(error) from error

    def feed(self, chunk: bytes) -> list[dict[bytes, bytes] | bytes | None]:
        """What this chunk completes: a part's headers, some of its data, None at its end. Raises BadRequest."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed(error) from error
        ready, self._ready = self._ready, []
        return ready

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        self._ready.append(self._headers)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._ready.append(data[start:end])

    def _on_part_end(self) -> None:
        self._ready.append(None)

    def _on_end(self) -> None:
        self.whole = True


_CALLBACKS = (
    *("on_part_begin", "on_part_data", "on_part_end", "on_end"),
    *("on_header_field", "on_header_value", "on_header_end", "on_headers_finished"),
)


async def _parts(request: Request, limit_bytes: int) -> AsyncGenerator[_Part, None]:
    """The form, part by part. Raises BadRequest for what is no form, TooLarge as soon as it is over."""
    count = 0
    async with aclosing(_tokens(request, limit_bytes)) as tokens:
        async for token in tokens:
            if isinstance(token, dict):
                count += 1
                if count > MOST_PARTS:
                    raise BadRequest(f"a form has at most {MOST_PARTS} parts", code="too_complex")
                yield _part(token, _data(tokens))


async def _tokens(request: Request, limit_bytes: int) -> AsyncGenerator[dict[bytes, bytes] | bytes | None, None]:
    tokens = _Tokens(request.headers.get("content-type", ""))
    most = limit_bytes + FIELD_BYTES + MOST_PARTS * 1000
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(limit_bytes)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(limit_bytes)
        for token in tokens.feed(chunk):
            yield token
    if not tokens.whole:
        raise BadRequest("the form ends in the middle", code="invalid_form")


async def _data(tokens: AsyncGenerator[dict[bytes, bytes] | bytes | None, None]) -> AsyncGenerator[bytes, None]:
    async for token in tokens:
        if token is None:
            return
        if isinstance(token, bytes):
            yield token


def _part(headers: dict[bytes, bytes], data: AsyncGenerator[bytes, None]) -> _Part:
    _, options = parse_options_header(headers.get(b"content-disposition", b""))
    if b"name" not in options:
        raise BadRequest("every part of a form needs a name", code="invalid_form")
    filename = options.get(b"filename")
    return _Part(
        options[b"name"].decode(errors="replace"),
        filename.decode(errors="replace") if filename is not None else None,
        data,
    )


def _malformed(error: FormParserError) -> BadRequest:
    return BadRequest(f"the form is malformed: {error}", code="invalid_form")


def written(fields: list[tuple[str, str]], file_field: str, filename: str) -> tuple[str, bytes, bytes]:
    """A form with one file, as Content-Type, what stands before the file's bytes and what stands after them.

    Names are ours or were checked: they hold no quotes and no line ends.
    """
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    ]
    disposition = f'form-data; name="{file_field}"; filename="{filename}"'
    parts.append(
        f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    return f"multipart/form-data; boundary={boundary}", "".join(parts).encode(), f"\r\n--{boundary}--\r\n".encode()
