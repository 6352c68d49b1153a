"""Who may come in, by which key, and what of a key is ever stored."""

import asyncio
import hashlib
import hmac

import msgspec
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.allowance import Role
from familyai.errors import BadRequest, DecodeError, NotFound
from familyai.members import Change, Member, MemberStore
from tests.familyai.people import PROFILE, names


@pytest.fixture
def store(any_redis: Redis) -> MemberStore:
    return MemberStore(any_redis, PROFILE)


async def test_a_member_comes_in_by_its_key(store: MemberStore) -> None:
    member, key = await store.add("ada", Role.CHILD)
    assert await store.authenticate(key) == member
    assert (member.name, member.role) == ("ada", Role.CHILD)


async def test_each_member_by_its_own(store: MemberStore) -> None:
    added = [await store.add(name, Role.ADULT) for name in ("ada", "bob", "eve")]
    assert [await store.authenticate(key) for _, key in added] == [member for member, _ in added]


async def test_members_are_listed_oldest_first(store: MemberStore) -> None:
    for name in ("zoe", "ada", "mia"):
        await store.add(name, Role.ADULT)
    assert await names(store) == ["zoe", "ada", "mia"]


@pytest.mark.parametrize("name", ["a", "Ada Lovelace", "o'hara", "a.b-c_d@home", "Jürgen", "李", "x" * 64, "2nd"])
async def test_names_as_people_have_them(store: MemberStore, name: str) -> None:
    member, _ = await store.add(name, Role.ADULT)
    assert await store.get(name) == member


@pytest.mark.parametrize("name", ["", " ada", "-ada", "x" * 65, "ada\n", "a\x00b", "a\x1b[31m", 'a"b', "a/b", "a:b"])
async def test_names_that_would_break_a_log_or_a_terminal(store: MemberStore, name: str) -> None:
    with pytest.raises(BadRequest) as raised:
        await store.add(name, Role.ADULT)
    assert raised.value.param == "name"
    assert await names(store) == []


async def test_a_name_is_given_once(store: MemberStore) -> None:
    _, key = await store.add("ada", Role.ADULT)
    with pytest.raises(BadRequest) as raised:
        await store.add("ada", Role.ADMIN)
    assert raised.value.code == "name_taken"
    member = await store.authenticate(key)
    assert member is not None
    assert member.role is Role.ADULT


async def test_a_name_is_given_once_even_at_once(store: MemberStore, any_redis: Redis) -> None:
    results = await asyncio.gather(*(store.add("ada", Role.ADULT) for _ in range(8)), return_exceptions=True)
    assert len([result for result in results if isinstance(result, BadRequest)]) == 7
    assert await any_redis.hlen(keys.API_KEYS) == 1


async def test_after_a_rotation_only_the_new_key_works(store: MemberStore, any_redis: Redis) -> None:
    member, old = await store.add("ada", Role.CHILD)
    rotated, new = await store.rotate("ada")
    assert await store.authenticate(old) is None
    assert await store.authenticate(new) == rotated
    assert (rotated.role, rotated.created_at_s) == (member.role, member.created_at_s)
    assert await any_redis.hlen(keys.API_KEYS) == 1


async def test_rotations_at_once_leave_one_key(store: MemberStore, any_redis: Redis) -> None:
    await store.add("ada", Role.ADULT)
    made = await asyncio.gather(*(store.rotate("ada") for _ in range(8)))
    working = [key for _, key in made if await store.authenticate(key)]
    assert len(working) == 1
    assert await any_redis.hlen(keys.API_KEYS) == 1


async def test_a_removed_member_s_key_no_longer_works(store: MemberStore, any_redis: Redis) -> None:
    _, key = await store.add("ada", Role.ADULT)
    _, other = await store.add("bob", Role.ADULT)
    await store.remove("ada")
    assert await store.authenticate(key) is None
    assert await store.authenticate(other) is not None
    assert await names(store) == ["bob"]
    assert await any_redis.hlen(keys.API_KEYS) == 1


async def test_a_name_is_free_again_after_its_removal(store: MemberStore) -> None:
    _, old = await store.add("ada", Role.ADULT)
    await store.remove("ada")
    _, new = await store.add("ada", Role.CHILD)
    assert await store.authenticate(old) is None
    assert await store.authenticate(new) is not None


async def test_a_name_that_is_given_again_inherits_nothing(store: MemberStore, any_redis: Redis) -> None:
    await store.add("ada", Role.ADULT)
    await store.add("bob", Role.ADULT)
    for name in ("ada", "bob"):
        for listed, record in keys.belongings(name):
            await any_redis.zadd(listed, {f"{name}-1": 1, f"{name}-2": 2})
            await any_redis.mset({record(f"{name}-1"): "x", record(f"{name}-2"): "x"})

    await store.remove("ada")

    for listed, record in keys.belongings("ada"):
        assert await any_redis.exists(listed, record("ada-1"), record("ada-2")) == 0
    for listed, record in keys.belongings("bob"):
        assert await any_redis.exists(listed, record("bob-1"), record("bob-2")) == 3


@pytest.mark.parametrize("act", [MemberStore.get, MemberStore.rotate, MemberStore.remove])
async def test_a_member_that_does_not_exist(store: MemberStore, act) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NotFound, match="ada"):
        await act(store, "ada")


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "fai",
        "fai--",
        "sk-1234567890",
        "fai-000000000000-",
        "Bearer {key}",
        "{key} ",
        "{key}\n",
        " {key}",
        "{key}x",
        "{other_secret}",
        "{short}",
        "{upper}",
        "ключ",
        "\x00",
        "\ud800",
        "fai-" * 100_000,
    ],
)
async def test_a_wrong_key_is_nobody_s(store: MemberStore, odd: str) -> None:
    _, key = await store.add("ada", Role.ADULT)
    head, secret = key[:17], key[17:]
    other_secret = head + ("A" if secret[0] != "A" else "B") + secret[1:]
    wrong = odd.format(key=key, other_secret=other_secret, short=key[:-1], upper=key.upper())
    assert await store.authenticate(wrong) is None


async def test_one_member_s_id_with_another_s_secret(store: MemberStore) -> None:
    (_, ada), (_, bob) = await store.add("ada", Role.ADULT), await store.add("bob", Role.ADMIN)
    assert await store.authenticate(bob[:17] + ada[17:]) is None


@pytest.mark.parametrize("key", ["fai-0123456789ab-" + "x" * 43, "nonsense"])
async def test_secrets_are_compared_in_constant_time_even_where_there_is_none(
    store: MemberStore, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    compared: list[tuple[str, str]] = []
    in_constant_time = hmac.compare_digest

    def compare(left: str, right: str) -> bool:
        compared.append((left, right))
        return in_constant_time(left, right)

    monkeypatch.setattr("familyai.members.hmac.compare_digest", compare)
    assert await store.authenticate(key) is None
    assert [(len(left), len(right)) for left, right in compared] == [(64, 64)]


async def test_nothing_stored_contains_the_secret(store: MemberStore, any_redis: Redis) -> None:
    _, key = await store.add("ada", Role.ADULT)
    secret = key[17:]
    stored = [value for name in (keys.MEMBERS, keys.API_KEYS) for value in (await any_redis.hgetall(name)).values()]
    assert not any(secret.encode() in value for value in stored)
    assert any(hashlib.sha256(secret.encode()).hexdigest().encode() in value for value in stored)


async def test_keys_are_long_and_never_the_same(store: MemberStore) -> None:
    made = [(await store.add("ada", Role.ADULT))[1]] + [(await store.rotate("ada"))[1] for _ in range(20)]
    secrets = {key[17:] for key in made}
    assert len(secrets) == 21
    assert all(len(secret) == 43 for secret in secrets)


async def test_an_entry_that_this_version_cannot_read(store: MemberStore, any_redis: Redis) -> None:
    _, key = await store.add("ada", Role.ADULT)
    await any_redis.hset(keys.API_KEYS, key[4:16], '{"member": {"role": "wizard"}}')
    with pytest.raises(DecodeError):
        await store.authenticate(key)


@pytest.mark.parametrize("other", ["leo", "LEO", "ＬＥＯ", "lEo"])
async def test_names_are_one_without_regard_to_case_and_form(store: MemberStore, other: str) -> None:
    member, _ = await store.add("Leo", Role.CHILD)
    with pytest.raises(BadRequest) as raised:
        await store.add(other, Role.ADULT)
    assert raised.value.code == "name_taken"
    assert await store.get(other) == member
    await store.remove(other)
    assert (await store.add(other, Role.ADULT))[0].name == other


async def test_a_member_of_before_is_known_whatever_the_case(store: MemberStore, any_redis: Redis) -> None:
    """As version 0.1 wrote it: a copy of the member beside its key, no lane, no list of names."""
    _, key = await store.add("Leo", Role.CHILD)
    old = {"name": "Leo", "role": "child", "key_id": key[4:16], "created_at_s": 1.5}
    entry = {"member": old, "secret_hash": hashlib.sha256(key[17:].encode()).hexdigest()}
    await any_redis.flushall()
    await any_redis.hset(keys.MEMBERS, "Leo", msgspec.json.encode(old))
    await any_redis.hset(keys.API_KEYS, key[4:16], msgspec.json.encode(entry))

    member = await store.authenticate(key)
    assert member == Member(name="Leo", role=Role.CHILD, key_id=key[4:16], created_at_s=1.5)
    with pytest.raises(BadRequest):
        await store.add("leo", Role.ADMIN)
    assert [one.lane for one in await store.all()] == [0]
    await store.change("leo", Change(role=Role.ADULT))
    changed = await store.authenticate(key)
    assert changed is not None
    assert changed.role is Role.ADULT
    await store.rotate("leo")
    assert await store.authenticate(key) is None


async def test_a_change_counts_for_the_next_request_in_every_front(store: MemberStore, any_redis: Redis) -> None:
    _, key = await store.add("leo", Role.ADULT)
    other = MemberStore(any_redis, PROFILE)
    await other.change("leo", Change(role=Role.CHILD, own={"running": 1}))
    member = await store.authenticate(key)
    assert member is not None
    assert (member.role, member.allowance(PROFILE.roles).running) == (Role.CHILD, 1)


async def test_limits_of_ones_own_stand_before_those_of_the_role(store: MemberStore) -> None:
    own = {"tokens_per_day": None, "weight": 2, "models": ["asr"], "hours": "07:00-20:30"}
    member, _ = await store.add("leo", Role.CHILD, Change(own=own))
    allowance, child = member.allowance(PROFILE.roles), PROFILE.roles.child
    assert (allowance.tokens_per_day, allowance.weight, allowance.models) == (None, 2, ("asr",))
    assert (allowance.running, allowance.waiting) == (child.running, child.waiting)
    assert (await store.get("leo")).allowance(PROFILE.roles) == allowance

    member = await store.change("leo", Change(reset=("tokens_per_day", "weight"), own={"running": 5}))
    assert member.own == {"models": ["asr"], "running": 5, "hours": "07:00-20:30"}
    assert member.allowance(PROFILE.roles).tokens_per_day == child.tokens_per_day
