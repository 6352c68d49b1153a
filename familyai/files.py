"""A member's files: what was uploaded for later use, and what batches produced. Records only; contents are blobs."""

import time
import uuid
from typing import cast

import msgspec
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import DecodeError, NotFound


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `filename` is a client's words: data, never a path."""

    id: str
    member: str
    filename: str
    purpose: str
    size_bytes: int
    created_at_s: float
    expires_at_s: float

    @property
    def blob(self) -> str:
        return file_blob(self.id)


def new_file_id() -> str:
    """Unique and unguessable."""
    return f"file-{uuid.uuid4().hex}"


def file_blob(file_id: str) -> str:
    """The name of its content in the blob store."""
    return f"files/{file_id}"


# KEYS: record, the member's files. ARGV: file id, record, now, expiry in ms since 1970.
_PUT = """
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
return 1
"""

# KEYS: record. ARGV: record, expiry in ms since 1970. Not for a record that is gone meanwhile, or lives longer.
_KEEP = """
local expiry = redis.call('PEXPIRETIME', KEYS[1])
if expiry < 0 or expiry >= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
return 1
"""


class FileStore:
    """Everybody sees their own files only. Raises redis-py's errors when the broker is gone."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._put = redis.register_script(_PUT)
        self._keep = redis.register_script(_KEEP)

    async def put(self, file: File) -> None:
        """Makes it findable until it expires. To be called when its content is whole in the blob store."""
        await self._put(
            keys=[keys.file(file.id), keys.files(file.member)],
            args=[file.id, msgspec.json.encode(file), file.created_at_s, int(file.expires_at_s * 1000)],
        )

    async def get(self, file_id: str, member: str) -> File:
        """Raises NotFound, for other people's files too."""
        file = _decode(await self._redis.get(keys.file(file_id)))
        if file is None or file.member != member:
            raise NotFound(f"there is no file '{file_id[:64]}'", param="file_id", code="file_not_found")
        return file

    async def all(self, member: str) -> list[File]:
        """Newest first. Entries whose file has expired are dropped on the way."""
        ids = cast(list[bytes], await self._redis.zrange(keys.files(member), 0, -1, desc=True))
        if not ids:
            return []
        stored = await self._redis.mget([keys.file(file_id.decode()) for file_id in ids])
        if gone := [file_id for file_id, data in zip(ids, stored, strict=True) if data is None]:
            await self._redis.zrem(keys.files(member), *gone)
        return [file for data in stored if (file := _decode(data)) is not None]

    async def keep(self, file: File, until_s: float) -> None:
        """It expires no earlier than this: work that needs it has begun."""
        kept = msgspec.structs.replace(file, expires_at_s=until_s)
        await self._keep(keys=[keys.file(file.id)], args=[msgspec.json.encode(kept), int(until_s * 1000)])

    async def delete(self, file_id: str, member: str) -> File:
        """Its record; whoever calls deletes the content. Raises NotFound."""
        file = await self.get(file_id, member)
        await self._redis.delete(keys.file(file_id))
        await self._redis.zrem(keys.files(member), file_id)
        return file


def new_file(member: str, filename: str, purpose: str, size_bytes: int, keep_s: float, file_id: str) -> File:
    now_s = time.time()
    return File(
        id=file_id,
        member=member,
        filename=filename,
        purpose=purpose,
        size_bytes=size_bytes,
        created_at_s=now_s,
        expires_at_s=now_s + keep_s,
    )


def _decode(data: bytes | str | None) -> File | None:
    try:
        return msgspec.json.decode(data, type=File) if data else None
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not a file's record: {error}") from error
