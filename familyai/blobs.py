"""Large things, kept out of the broker and out of memory: request bodies, uploads, recordings and their results.

| name                    | what                                               | swept away without          |
|-------------------------|----------------------------------------------------|-----------------------------|
| `requests/{job}`        | the body of one request                            | `familyai:job:{job}`        |
| `files/{file}`          | an uploaded or produced file                       | `familyai:file:{file}`      |
| `batches/{batch}/…`     | results of a batch, line by line, until it is over | `familyai:batch:{batch}`    |
| `transcriptions/{id}/…` | audio and results of a transcription job           | `familyai:transcription:{id}` |
"""

import asyncio
import errno
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from familyai.errors import ConfigurationError

CHUNK_BYTES = 1_000_000
PART = ".part"


class BlobStore:
    """Objects by name under one fsspec URL (`file:///…`, `s3://bucket/prefix`).

    Names are FamilyAI's own ids, never a client's text. The file system's calls block: what is `async` here runs them
    in a thread, what is not is for code that is in a thread already.
    """

    def __init__(self, url: str, reserve_gb: float = 0) -> None:
        """`reserve_gb` of a local disk are never filled: the broker's append-only file needs room, too.

        Raises ConfigurationError for a URL of no file system that is installed here.
        """
        try:
            # without its cache of listings, in which what other processes write is missing
            self._fs, self._root = cast(tuple[Any, str], fsspec.core.url_to_fs(url, use_listings_cache=False))
        except (ValueError, ImportError) as error:
            raise ConfigurationError(f"FAMILYAI_BLOB_URL: {error}") from error
        self._reserve_bytes = int(reserve_gb * 1e9)
        self._is_local = isinstance(self._fs, LocalFileSystem)

    async def put(self, name: str, data: bytes) -> None:
        """Visible only when whole. Raises OSError when the store is full or gone."""
        await asyncio.to_thread(self._put, name, data)

    async def get(self, name: str) -> bytes:
        """The whole object, for what is known to be small. Raises FileNotFoundError."""
        return cast(bytes, await asyncio.to_thread(self._fs.cat_file, self._path(name)))

    async def delete(self, name: str) -> None:
        """The object, or all objects whose names start with `name/`. Deleting what is not there is no error."""
        await asyncio.to_thread(self.delete_now, name)

    async def chunks(self, name: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The object, or a stretch of it, in pieces of `CHUNK_BYTES`. Raises FileNotFoundError."""
        left = (await asyncio.to_thread(self.size, name)) - offset if length is None else length
        file = await asyncio.to_thread(self.open, name)
        try:
            await asyncio.to_thread(file.seek, offset)
            while left > 0 and (chunk := await asyncio.to_thread(file.read, min(left, CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk
        finally:
            await asyncio.to_thread(file.close)

    @asynccontextmanager
    async def writing(self, name: str) -> AsyncIterator["Writer"]:
        """A new object, there when the block ends without an exception. Raises OSError when the store is full."""
        creating = self.create(name)
        writer = Writer(await asyncio.to_thread(creating.__enter__))
        try:
            yield writer
            await writer.flush()
        except BaseException as error:
            await asyncio.to_thread(_leave, creating, error)
            raise
        await asyncio.to_thread(_leave, creating, None)

    async def older_than(self, age_s: float) -> list[str]:
        """Names of all objects, unfinished ones included, of whose owner nobody has written anything for so long."""
        return await asyncio.to_thread(lambda: list(self._older_than(time.time() - age_s)))

    def open(self, name: str) -> BinaryIO:
        """For reading; seekable. Raises FileNotFoundError."""
        return cast(BinaryIO, self._fs.open(self._path(name), "rb"))

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """A new object to write; it takes its name when the block ends without an exception, else it never was."""
        file, finish, discard = self._begin(self._path(name))
        try:
            yield cast(BinaryIO, _Bounded(file, self._check_room))
            finish()
        except BaseException:
            discard()
            raise

    def size(self, name: str) -> int:
        """In bytes. Raises FileNotFoundError."""
        return int(self._fs.size(self._path(name)))

    def delete_now(self, name: str) -> None:
        """`delete`, blocking."""
        path, there = self._path(name), True
        while there:
            try:
                self._fs.rm(path, recursive=True)
                return
            except FileNotFoundError:  # never there, or somebody else deletes it, too, and has not come to the end
                there = self._fs.exists(path)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _put(self, name: str, data: bytes) -> None:
        with self.create(name) as file:
            file.write(data)

    def _begin(self, path: str) -> tuple[Any, Any, Any]:
        """A file to write, and how it is finished or discarded."""
        if not self._is_local:  # an object store shows nothing before the upload is committed
            file = self._fs.open(path, "wb", autocommit=False)
            return file, lambda: (file.close(), file.commit()), file.discard
        part = f"{path}.{secrets.token_hex(4)}{PART}"
        self._fs.makedirs(os.path.dirname(path), exist_ok=True)
        file = self._fs.open(part, "wb")

        def finish() -> None:
            file.flush()
            os.fsync(file.fileno())
            file.close()
            os.replace(part, path)

        def discard() -> None:
            file.close()
            os.unlink(part)

        return file, finish, discard

    def _check_room(self, size_bytes: int) -> None:
        if not self._is_local or not self._reserve_bytes:
            return
        disk = os.statvfs(self._root)
        if disk.f_bavail * disk.f_frsize - size_bytes < self._reserve_bytes:
            raise OSError(errno.ENOSPC, f"less than {self._reserve_bytes / 1e9:g} GB would be left on the disk")

    def _older_than(self, horizon_s: float) -> Iterator[str]:
        written_s = dict(self._written_s())
        youngest_s: dict[str, float] = {}
        for name, time_s in written_s.items():
            youngest_s[owner(name)] = max(time_s, youngest_s.get(owner(name), 0.0))
        return (name for name in written_s if youngest_s[owner(name)] < horizon_s)

    def _written_s(self) -> Iterator[tuple[str, float]]:
        """When each object was written last, by name."""
        if not self._fs.exists(self._root):
            return
        for path, found in self._fs.find(self._root, detail=True).items():
            try:
                written = found.get("LastModified") or self._fs.modified(path)  # an object store has just told
            except FileNotFoundError:  # its owner has just ended
                continue
            yield path.removeprefix(self._root).removeprefix("/"), written.timestamp()


def owner(name: str) -> str:
    """What an object is a part of: `batches/1` for `batches/1/7.failed`."""
    return "/".join(name.split("/")[:2])


class Writer:
    """Gathers what is written until it is worth a thread's while."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._gathered = bytearray()
        self.size_bytes = 0

    async def write(self, data: bytes) -> None:
        """Raises OSError when the store is full or gone."""
        self._gathered += data
        self.size_bytes += len(data)
        if len(self._gathered) >= CHUNK_BYTES:
            await self.flush()

    async def flush(self) -> None:
        gathered, self._gathered = self._gathered, bytearray()
        if gathered:
            await asyncio.to_thread(self._file.write, gathered)


class _Bounded:
    """A file that is asked before every write whether there is room."""

    def __init__(self, file: Any, check_room: Any) -> None:
        self._file = file
        self._check_room = check_room

    def write(self, data: bytes) -> int:
        self._check_room(len(data))
        return int(self._file.write(data) or len(data))


def _leave(creating: Any, error: BaseException | None) -> None:
    """Ends the block of a context manager that was entered in another thread."""
    try:
        creating.__exit__(type(error) if error else None, error, None)
    except BaseException as raised:
        if raised is not error:
            raise
