"""Members of the household and their API keys.

A key is `fai-<id>-<secret>`: the id finds the entry, the secret (256 random bits) is compared by its SHA-256 in
constant time. Only the hash is stored; a key is shown when it is made and never again.
"""

import hashlib
import hmac
import re
import secrets
import time
from enum import StrEnum
from typing import Annotated, TypeVar, cast

import msgspec
from redis.asyncio import Redis

from familyai import keys
from familyai.errors import BadRequest, DecodeError, NotFound

_KEY = re.compile(r"fai-([0-9a-f]{12})-([A-Za-z0-9_-]{43})")
_T = TypeVar("_T")
_NAME = re.compile(r"[\w][\w .'@-]{0,63}")


class Role(StrEnum):
    ADMIN = "admin"
    ADULT = "adult"
    CHILD = "child"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One person (or program) with a key."""

    name: str
    role: Role
    key_id: str
    created_at_s: float


class _ApiKey(msgspec.Struct, frozen=True):
    member: Member
    secret_hash: Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


# KEYS: members, API keys. ARGV: name, member, key id, key, 'add' or 'rotate'. A member's only key is its newest, also
# when two write at once. Returns 0 when the name is taken, or nobody's to rotate; repeated by its own caller, 1 again.
_PUT = """
local old = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[5] == 'add' and old and old ~= ARGV[2] then return 0 end
if ARGV[5] == 'rotate' and not old then return 0 end
if old then redis.call('HDEL', KEYS[2], cjson.decode(old)['key_id']) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
return 1
"""

# KEYS: members, API keys. ARGV: name.
_REMOVE = """
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old then return 0 end
redis.call('HDEL', KEYS[2], cjson.decode(old)['key_id'])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
"""


class MemberStore:
    """Members by name; keys by id, each with a copy of its member. Each request asks here: changes work at once."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._put = redis.register_script(_PUT)
        self._drop = redis.register_script(_REMOVE)

    async def add(self, name: str, role: Role) -> tuple[Member, str]:
        """The new member and its key. Raises BadRequest for a name that is unusable or taken."""
        if not _NAME.fullmatch(name):
            raise BadRequest("a name has 1 to 64 letters, digits, spaces or any of . ' @ _ -", param="name")
        member, entry, api_key = _new(name, role, time.time())
        if not await self._write(member, entry, "add"):
            raise BadRequest(f"there is already a member '{name}'", param="name", code="name_taken")
        return member, api_key

    async def rotate(self, name: str) -> tuple[Member, str]:
        """A new key; the old one stops working at once. Raises NotFound."""
        old = await self.get(name)
        member, entry, api_key = _new(name, old.role, old.created_at_s)
        if not await self._write(member, entry, "rotate"):
            raise _nobody(name)
        return member, api_key

    async def remove(self, name: str) -> None:
        """With the key go the member's files, batches and transcription jobs: a name may be given again.

        Their contents are swept out of the blob store later, for lack of a record. Raises NotFound.
        """
        await self.get(name)
        await self._drop(keys=[keys.MEMBERS, keys.API_KEYS], args=[name])
        for listed, record in keys.belongings(name):
            ids = cast(list[bytes], await self._redis.zrange(listed, 0, -1))
            await self._redis.delete(listed, *(record(one.decode()) for one in ids))

    async def get(self, name: str) -> Member:
        """Raises NotFound."""
        member = await self._find(name)
        if member is None:
            raise _nobody(name)
        return member

    async def all(self) -> list[Member]:
        """Oldest first."""
        stored = cast(dict[bytes, bytes], await self._redis.hgetall(keys.MEMBERS))
        return sorted((_decode(data, Member) for data in stored.values()), key=lambda member: member.created_at_s)

    async def authenticate(self, api_key: str) -> Member | None:
        """Whose key this is, or None. One round trip, and no early exit that would tell a guesser anything."""
        match = _KEY.fullmatch(api_key)
        key_id, secret = match.groups() if match else ("0" * 12, "")
        stored = await self._redis.hget(keys.API_KEYS, key_id)
        entry = _decode(stored, _ApiKey) if stored else None
        right = hmac.compare_digest(entry.secret_hash if entry else "0" * 64, _hash(secret))
        return entry.member if entry and right else None

    async def _find(self, name: str) -> Member | None:
        data = await self._redis.hget(keys.MEMBERS, name)
        return _decode(data, Member) if data else None

    async def _write(self, member: Member, entry: _ApiKey, how: str) -> bool:
        wrote = await self._put(
            keys=[keys.MEMBERS, keys.API_KEYS],
            args=[member.name, msgspec.json.encode(member), member.key_id, msgspec.json.encode(entry), how],
        )
        return bool(wrote)


def _new(name: str, role: Role, created_at_s: float) -> tuple[Member, _ApiKey, str]:
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    member = Member(name=name, role=role, key_id=key_id, created_at_s=created_at_s)
    return member, _ApiKey(member, _hash(secret)), f"fai-{key_id}-{secret}"


def _nobody(name: str) -> NotFound:
    return NotFound(f"there is no member '{name}'", param="name")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _decode(data: bytes | str, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not a {kind.__name__}: {error}") from error
