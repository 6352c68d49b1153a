"""Members of the household and their API keys.

A key is `fai-<id>-<secret>`: the id finds the entry, the secret (256 random bits) is compared by its SHA-256 in
constant time. Only the hash is stored; a key is shown when it is made and never again.

Entries of keys name their member and hold no copy: what an admin changes counts for the next request, in every front.
"""

import hashlib
import hmac
import logging
import re
import secrets
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, TypeVar, cast

import msgspec
from pydantic import ValidationError
from redis.asyncio import Redis

from familyai import keys
from familyai.allowance import Allowance, Role, Roles
from familyai.catalogue import Profile
from familyai.errors import BadRequest, DecodeError, Forbidden, NotFound, Unavailable
from familyai.lanes import first_free, lane_named
from familyai.names import RULE, composed, folded, is_valid, made_valid, namesakes

log = logging.getLogger(__name__)

OPEN_WEBUI = "open-webui"
"""Whose users trusted keys speak for."""
LONGEST_USER_ID = 255
_KEY = re.compile(r"fai-([0-9a-f]{12})-([A-Za-z0-9_-]{43})")
_ATTEMPTS = 100
_MOST = 10**15
_PLAIN = {"extra_forbidden": "there is no such limit"}
_NOT_LIFTED = "there is always a limit; give a number, or go back to the role's"
_T = TypeVar("_T")


class Member(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One person or program. `key_id` is empty for whoever came by themselves, and only comes through a chat UI."""

    name: str
    role: Role
    key_id: str
    created_at_s: float
    lane: int | None = None
    own: dict[str, Any] = {}
    trusted: bool = False
    user: str | None = None

    @property
    def administers(self) -> bool:
        """Whether they can: that needs a key which speaks for nobody else."""
        return self.role is Role.ADMIN and bool(self.key_id) and not self.trusted

    def allowance(self, roles: Roles) -> Allowance:
        """The limits that count: their own, and of their role where they have none."""
        return roles.of(self.role, self.own)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What an admin asks for; what is left out stays. In `own`, None is no limit; `reset` goes back to the role's."""

    role: Role | None = None
    own: dict[str, Any] = {}
    reset: tuple[str, ...] = ()
    trusted: bool | None = None
    user: str | msgspec.UnsetType | None = msgspec.UNSET

    def apply(self, member: Member, profile: Profile) -> Member:
        """Raises BadRequest for limits that are none, and for a trusted admin."""
        for name in self.reset:
            if name not in Allowance.model_fields or name in self.own:
                words = "is set, so it cannot be reset too" if name in self.own else "is no limit"
                raise BadRequest(f"`{name[:64]}` {words}", param="reset", code="invalid_value")
        own = {name: limit for name, limit in (member.own | self.own).items() if name not in self.reset}
        changed = msgspec.structs.replace(
            member,
            role=self.role or member.role,
            trusted=member.trusted if self.trusted is None else self.trusted,
            user=member.user if self.user is msgspec.UNSET else self.user,
        )
        if changed.trusted and changed.role is Role.ADMIN:
            raise BadRequest("a trusted key is never an admin's", param="trusted", code="trusted_admin")
        checked = _checked(own, changed.role, profile)
        if self.own.get("models") is not None:  # those of before may name queues that are gone
            _check_models(checked["models"], profile)
        return msgspec.structs.replace(changed, own=checked)


class _ApiKey(msgspec.Struct, frozen=True):
    """Entries of version 0.1 held a copy of the member as well, which nobody reads any more."""

    secret_hash: Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


# KEYS: API keys, members. ARGV: key id. Its entry, and whose it is as they are now.
_FIND = """
local entry = redis.call('HGET', KEYS[1], ARGV[1])
if not entry then return {} end
local readable, read = pcall(cjson.decode, entry)
if not readable or type(read) ~= 'table' then return {entry} end
local name = read['name'] or (read['member'] or {})['name']
return {entry, name and redis.call('HGET', KEYS[2], name)}
"""

# KEYS: members, API keys, names, users, lane owners. ARGV: name, folded name, the member before ('' if there was none)
# and after ('' if there is none any more), the entry of their new key ('' if it stays), most members without a key.
# Returns what stood in the way; repeated by its own caller, 'done' again.
_WRITE = """
local function read(text) if text == '' then return {} end return cjson.decode(text) end
local function taken(key, field)
  local owner = field and redis.call('HGET', key, field)
  return owner and owner ~= ARGV[1]
end
local function give_back(key, field)
  if field and not taken(key, field) then redis.call('HDEL', key, field) end
end
local function is_full()
  local number = 0
  for _, data in ipairs(redis.call('HVALS', KEYS[1])) do
    if (cjson.decode(data)['key_id'] or '') == '' then number = number + 1 end
  end
  return number >= tonumber(ARGV[6])
end
local function lane_of(member) return member['lane'] and string.format('%d', member['lane']) end
local function administers(member)
  return member['role'] == 'admin' and (member['key_id'] or '') ~= '' and not member['trusted']
end
local function other_admins()
  for _, data in ipairs(redis.call('HVALS', KEYS[1])) do
    local other = cjson.decode(data)
    if administers(other) and other['name'] ~= ARGV[1] then return true end
  end
  return false
end

local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if now == ARGV[4] then return 'done' end
if now ~= ARGV[3] then return 'changed' end
local before, after = read(ARGV[3]), read(ARGV[4])
if ARGV[3] == '' and taken(KEYS[3], ARGV[2]) then return 'name' end
if taken(KEYS[4], after['user']) then return 'user' end
if ARGV[3] == '' and after['key_id'] == '' and is_full() then return 'full' end
if taken(KEYS[5], lane_of(after)) then return 'lane' end
if before['role'] == 'admin' and after['role'] ~= 'admin' and not other_admins() then return 'last' end

if before['user'] ~= after['user'] then give_back(KEYS[4], before['user']) end
if before['lane'] ~= after['lane'] then give_back(KEYS[5], lane_of(before)) end
if before['key_id'] and before['key_id'] ~= after['key_id'] then redis.call('HDEL', KEYS[2], before['key_id']) end
if ARGV[4] == '' then
  give_back(KEYS[3], ARGV[2])
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 'done'
end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], after['key_id'], ARGV[5]) end
if after['user'] then redis.call('HSET', KEYS[4], after['user'], ARGV[1]) end
if after['lane'] then redis.call('HSET', KEYS[5], lane_of(after), ARGV[1]) end
redis.call('HSETNX', KEYS[3], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
return 'done'
"""


class MemberStore:
    """Members by name. Each request asks here, so changes work at once. Raises redis-py's errors."""

    def __init__(self, redis: Redis, profile: Profile) -> None:
        self._redis = redis
        self._profile = profile
        self._find_key = redis.register_script(_FIND)
        self._script = redis.register_script(_WRITE)

    async def add(self, name: str, role: Role, change: Change | None = None) -> tuple[Member, str]:
        """The new member and its key. Raises BadRequest for a name that is unusable or taken, and for bad limits."""
        name = composed(name)
        if not is_valid(name):
            raise BadRequest(RULE, param="name", code="invalid_name")
        await self.all()  # whose names nobody has compared yet
        key_id, entry, api_key = _new_key(name)
        member = Member(name=name, role=role, key_id=key_id, created_at_s=time.time())
        if change is not None:
            member = change.apply(member, self._profile)
        return await self._add(member, entry), api_key

    async def change(self, name: str, change: Change) -> Member:
        """Changes at the same time all count. Raises NotFound; BadRequest, also where no admin would be left."""
        return await self._change(name, lambda member: change.apply(member, self._profile))

    async def rotate(self, name: str) -> tuple[Member, str]:
        """A new key, or the first; the old one stops working at once. Raises NotFound."""
        key_id, entry, api_key = _new_key((await self.get(name)).name)
        return await self._change(name, lambda one: msgspec.structs.replace(one, key_id=key_id), entry), api_key

    async def remove(self, name: str) -> Member:
        """With the key go the member's files, batches and transcription jobs: a name may be given again.

        Their contents are swept out of the blob store later, for lack of a record. Raises NotFound, and BadRequest
        where no admin would be left.
        """
        for _ in range(_ATTEMPTS):
            stored, member = await self._stored(name)
            outcome = await self._write(member.name, stored, b"")
            if outcome == "done":
                await self._remove_belongings(member.name)
                return member
            await self._refuse(outcome, member)
        raise _busy()

    async def get(self, name: str) -> Member:
        """However the name is written. Raises NotFound."""
        return (await self._stored(name))[1]

    async def all(self) -> list[Member]:
        """Oldest first. Whoever has no lane yet, and may have one by now, is given it on the way."""
        members = await self._everyone()
        await self._know_names(members)
        without_lane = [member.name for member in members if member.lane is None]
        for name in without_lane:
            if await self._free_lane() is None:
                break
            with suppress(NotFound):  # removed meanwhile
                await self._change(name, lambda one: one)
        return await self._everyone() if without_lane else members

    async def authenticate(self, api_key: str) -> Member | None:
        """Whose key this is, or None. One round trip, and no early exit that would tell a guesser anything."""
        match = _KEY.fullmatch(api_key)
        key_id, secret = match.groups() if match else ("0" * 12, "")
        found = cast(list[bytes | None], await self._find_key(keys=[keys.API_KEYS, keys.MEMBERS], args=[key_id]))
        entry, data = (*found, None, None)[:2]
        right = hmac.compare_digest(_decode(entry, _ApiKey).secret_hash if entry else "0" * 64, _hash(secret))
        member = self._read(data) if data and right else None
        return member if member and member.key_id == key_id else None

    async def of_user(self, user_id: str, called: str) -> Member:
        """The member that a chat UI's user is; one that nobody knows becomes a child, without a key, called like that.

        Asked for twice at once, they are still one member. Raises Forbidden for one newcomer too many.
        """
        user = user_key(user_id)
        if (member := await self._of_user(user)) is not None:
            return member
        await self.all()  # as in `add`
        for _ in range(_ATTEMPTS):
            name = await self._free_name(namesakes(made_valid(called), user))
            new = Member(name=name, role=Role.CHILD, key_id="", created_at_s=time.time(), user=user)
            with suppress(_NameTaken, _UserTaken):
                new = await self._add(new, b"")
                log.info("a chat UI's user is new", extra={"action": "member.added", "member": name, "user": user})
                return new
            if (member := await self._of_user(user)) is not None:
                return member
        raise _busy()

    async def _free_name(self, names: list[str]) -> str:
        """The first that is nobody's; the last of them where all are taken, which is then refused."""
        owners = await self._redis.hmget(keys.MEMBER_NAMES, [folded(name) for name in names])
        return next((name for name, owner in zip(names, owners, strict=True) if owner is None), names[-1])

    async def _of_user(self, user: str) -> Member | None:
        name = await self._redis.hget(keys.USERS, user)
        data = await self._redis.hget(keys.MEMBERS, name) if name else None
        return self._read(data) if data else None

    async def _add(self, member: Member, entry: bytes) -> Member:
        for _ in range(_ATTEMPTS):
            member = msgspec.structs.replace(member, lane=await self._free_lane())
            outcome = await self._write(member.name, b"", msgspec.json.encode(member), entry)
            if outcome == "done":
                return member
            await self._refuse("name" if outcome == "changed" else outcome, member)
        raise _busy()

    async def _change(self, name: str, change: Callable[[Member], Member], entry: bytes = b"") -> Member:
        for _ in range(_ATTEMPTS):
            stored, before = await self._stored(name)
            member = change(before)
            if member.lane is None:
                member = msgspec.structs.replace(member, lane=await self._free_lane())
            outcome = await self._write(member.name, stored, msgspec.json.encode(member), entry)
            if outcome == "done":
                return member
            await self._refuse(outcome, member)
        raise _busy()

    async def _everyone(self) -> list[Member]:
        stored = cast(dict[bytes, bytes], await self._redis.hgetall(keys.MEMBERS))
        return sorted((self._read(data) for data in stored.values()), key=lambda member: member.created_at_s)

    async def _know_names(self, members: list[Member]) -> None:
        """Members of version 0.1 are not listed by how their names are compared."""
        known = set(cast(list[bytes], await self._redis.hvals(keys.MEMBER_NAMES)))
        writing = self._redis.pipeline(transaction=False)
        for member in members:
            if member.name.encode() not in known:
                writing.hsetnx(keys.MEMBER_NAMES, folded(member.name), member.name)
        await writing.execute()

    async def _free_lane(self) -> int | None:
        """The lowest that is nobody's, and in which nobody waits."""
        reading = self._redis.pipeline(transaction=False)
        reading.hkeys(keys.LANE_OWNERS)
        for queue in self._profile.models:
            reading.smembers(keys.active(queue))
        owned, *waiting = await reading.execute()
        taken = {int(number) for number in owned} | {number for some in waiting for number in _numbers(some)}
        return first_free(taken, self._profile.fairness.lanes)

    async def _stored(self, name: str) -> tuple[bytes, Member]:
        """As it lies there, and what it says. Raises NotFound."""
        for written in (name, await self._redis.hget(keys.MEMBER_NAMES, folded(name))):
            data = cast(bytes | None, await self._redis.hget(keys.MEMBERS, written)) if written else None
            if data is not None:
                return data, self._read(data)
        raise NotFound(f"there is no member '{name[:64]}'", param="name", code="member_not_found")

    async def _write(self, name: str, before: bytes, after: bytes, entry: bytes = b"") -> str:
        outcome = await self._script(
            keys=[keys.MEMBERS, keys.API_KEYS, keys.MEMBER_NAMES, keys.USERS, keys.LANE_OWNERS],
            args=[name, folded(name), before, after, entry, self._profile.limits.chat_users],
        )
        return bytes(outcome).decode()

    async def _refuse(self, outcome: str, member: Member) -> None:
        """Raises BadRequest, or Forbidden for a newcomer, for what no second attempt would change."""
        if outcome == "name":
            raise _NameTaken(f"there is already a member '{member.name}'", param="name")
        if outcome == "user":
            owner = await self._redis.hget(keys.USERS, member.user or "")
            name = owner.decode() if isinstance(owner, bytes) else "another member"
            raise _UserTaken(f"this user is '{name}' already; unlink or remove that member first", param="user")
        if outcome == "full":
            raise _too_many_users(user_of(member) or "", self._profile.limits.chat_users)
        if outcome == "last":
            raise BadRequest(f"'{member.name}' is the last admin with a key; make another one first", code="last_admin")

    async def _remove_belongings(self, name: str) -> None:
        await self._redis.delete(keys.in_flight(name))
        for listed, record in keys.belongings(name):
            ids = cast(list[bytes], await self._redis.zrange(listed, 0, -1))
            await self._redis.delete(listed, *(record(one.decode()) for one in ids))

    def _read(self, data: bytes | str) -> Member:
        """A lane beyond the last, of a day when there were more, is none."""
        member = _decode(data, Member)
        beyond = member.lane is not None and member.lane >= self._profile.fairness.lanes
        return msgspec.structs.replace(member, lane=None) if beyond else member


class _NameTaken(BadRequest):
    code = "name_taken"


class _UserTaken(BadRequest):
    code = "user_taken"


def user_key(user_id: str) -> str:
    """What a chat UI's user is called in `keys.USERS`. Raises BadRequest for an id that is none."""
    if not user_id.strip() or len(user_id) > LONGEST_USER_ID or not user_id.isprintable():
        raise BadRequest(f"a user's id has 1 to {LONGEST_USER_ID} printable characters", param="user")
    return f"{OPEN_WEBUI}/{user_id}"


def user_of(member: Member) -> str | None:
    """The id by which the chat UI knows them."""
    return member.user.removeprefix(f"{OPEN_WEBUI}/") if member.user else None


def _checked(own: dict[str, Any], role: Role, profile: Profile) -> dict[str, Any]:
    """The same limits as they are stored. Raises BadRequest."""
    try:
        limits = profile.roles.of(role, own).model_dump(mode="json")
    except ValidationError as error:
        problem = error.errors()[0]
        param = str(problem["loc"][0])
        words = _PLAIN.get(problem["type"], problem["msg"]) if own.get(param) is not None else _NOT_LIFTED
        raise BadRequest(
            f"`{param}`: {words.removeprefix('Value error, ')}", param=param, code="invalid_value"
        ) from error
    for name in own:
        if isinstance(limits[name], int | float) and limits[name] > _MOST:
            raise BadRequest(f"`{name}` is at most {_MOST}", param=name, code="invalid_value")
    return {name: limits[name] for name in limits if name in own}


def _check_models(models: list[str], profile: Profile) -> None:
    """Raises BadRequest."""
    unknown = [name for name in models if name not in profile.queues]
    if unknown or not models:
        wrong = f"'{unknown[0][:64]}' is no queue" if unknown else "name one queue at least"
        raise BadRequest(f"{wrong}; there are: {', '.join(profile.queues)}", param="models", code="invalid_value")


def _numbers(names: set[bytes]) -> set[int]:
    """Which lanes these are, but for those of another time's catalogue."""
    found = set()
    for name in names:
        with suppress(ValueError):
            found.add(lane_named(name.decode()).number)
    return found


def _new_key(name: str) -> tuple[str, bytes, str]:
    """Its id, what is stored of it, and the key."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    entry = msgspec.json.encode({"name": name, "secret_hash": _hash(secret)})
    return key_id, entry, f"fai-{key_id}-{secret}"


def _too_many_users(user_id: str, most: int) -> Forbidden:
    return Forbidden(
        f"Nobody here knows you yet, and no more than {most} may come by themselves. A parent can say who you are "
        f"(`familyai member link NAME {shlex.quote(user_id)}`), remove somebody who no longer comes "
        "(`familyai member remove NAME`), or raise `chat_users` in queues.yaml.",
        code="too_many_users",
    )


def _busy() -> Unavailable:
    return Unavailable("too many members change at once; try again", code="busy", retry_after_s=1)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _decode(data: bytes | str, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not a {kind.__name__}: {error}") from error
