"""Who may come in, by which key, and what of a key is ever stored."""

import asyncio
import hashlib
import hmac
import re
import shlex
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import Connection

from familyai import keys
from familyai.allowance import Role
from familyai.broker import connect
from familyai.catalogue import Profile
from familyai.errors import BadRequest, DecodeError, Forbidden, NotFound
from familyai.members import Change, Member, MemberStore, user_key
from familyai.names import namesakes

PROFILE = Profile.model_validate(
    {
        "memory_budget_gb": 2,
        "fairness": {"lanes": 3},
        "queues": {
            "chat": {"model": "org/chat", "engine": "echo", "memory_gb": 1, "slots": 4},
            "chat-light": {"served_by": "chat"},
            "asr": {"model": "org/asr", "engine": "echo", "memory_gb": 1, "slots": 4},
        },
    }
)


@pytest.fixture
def store(any_redis: Redis) -> MemberStore:
    return MemberStore(any_redis, PROFILE)


async def names(store: MemberStore) -> list[str]:
    return [member.name for member in await store.all()]


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


@pytest.mark.parametrize(
    ("change", "param"),
    [
        (Change(own={"running": 0}), "running"),
        (Change(own={"running": -1}), "running"),
        (Change(own={"running": 10**16}), "running"),
        (Change(own={"waiting": None}), "waiting"),
        (Change(own={"weight": None}), "weight"),
        (Change(own={"weight": float("nan")}), "weight"),
        (Change(own={"weight": float("inf")}), "weight"),
        (Change(own={"models": []}), "models"),
        (Change(own={"models": ["gpt-9"]}), "models"),
        (Change(own={"hours": "always"}), "hours"),
        (Change(own={"speed": 9}), "speed"),
        (Change(reset=("speed",)), "reset"),
        (Change(own={"running": 1}, reset=("running",)), "reset"),
        (Change(role=Role.ADMIN, trusted=True), "trusted"),
    ],
)
async def test_a_change_that_is_none_changes_nothing(store: MemberStore, change: Change, param: str) -> None:
    before, _ = await store.add("leo", Role.CHILD)
    with pytest.raises(BadRequest) as raised:
        await store.change("leo", change)
    assert raised.value.param == param
    with pytest.raises(BadRequest):
        await store.add("mia", Role.CHILD, change)
    assert await store.all() == [before]


@pytest.mark.parametrize(
    "change", [Change(own={"hours": "07:00-20:00"}), Change(role=Role.ADULT), Change(trusted=True)]
)
async def test_a_queue_that_is_gone_stands_in_no_other_changes_way(
    store: MemberStore, any_redis: Redis, change: Change
) -> None:
    await store.add("leo", Role.CHILD, Change(own={"models": ["chat", "asr"]}))
    less = PROFILE.model_copy(update={"queues": {name: PROFILE.queues[name] for name in ("chat", "chat-light")}})
    later = MemberStore(any_redis, less)
    member = await later.change("leo", change)
    assert member.allowance(less.roles).models == ("chat", "asr")
    with pytest.raises(BadRequest, match="'asr' is no queue"):
        await later.change("leo", Change(own={"models": ["chat", "asr"]}))
    assert (await later.change("leo", Change(own={"models": ["chat"]}))).own["models"] == ["chat"]


@pytest.mark.parametrize("first", ["role", "trusted"])
async def test_a_trusted_key_is_never_an_admins(store: MemberStore, first: str) -> None:
    admin, trusted = Change(role=Role.ADMIN), Change(trusted=True)
    begin, follow = (admin, trusted) if first == "role" else (trusted, admin)
    await store.add("webui", Role.ADULT, begin)
    with pytest.raises(BadRequest) as raised:
        await store.change("webui", follow)
    assert raised.value.code == "trusted_admin"


async def test_the_last_admin_stays_an_admin(store: MemberStore) -> None:
    await store.add("mum", Role.ADMIN)
    await store.add("kid", Role.CHILD)
    for act in (store.remove("mum"), store.change("MUM", Change(role=Role.ADULT))):
        with pytest.raises(BadRequest) as raised:
            await act
        assert raised.value.code == "last_admin"
    await store.change("kid", Change(role=Role.ADMIN))
    await store.change("mum", Change(role=Role.ADULT))
    assert [member.role for member in await store.all()] == [Role.ADULT, Role.ADMIN]


async def test_an_admin_without_a_key_cannot_stand_in_for_the_last_one(store: MemberStore) -> None:
    await store.add("Mum", Role.ADMIN)
    await store.of_user("u-1", "Dad")
    await store.change("Dad", Change(role=Role.ADMIN))
    for act in (store.remove("Mum"), store.change("Mum", Change(role=Role.ADULT))):
        with pytest.raises(BadRequest) as raised:
            await act
        assert raised.value.code == "last_admin"
    await store.rotate("Dad")
    await store.remove("Mum")
    assert await names(store) == ["Dad"]


async def test_an_admin_without_a_key_may_go(store: MemberStore) -> None:
    await store.add("Mum", Role.ADMIN)
    await store.of_user("u-1", "Dad")
    await store.change("Dad", Change(role=Role.ADMIN))
    await store.remove("Dad")
    assert await names(store) == ["Mum"]


async def test_a_trusted_admin_of_before_cannot_stand_in_for_the_last_one(store: MemberStore, any_redis: Redis) -> None:
    await store.add("Mum", Role.ADMIN)
    webui, _ = await store.add("webui", Role.ADULT, Change(trusted=True))
    admin = msgspec.structs.replace(webui, role=Role.ADMIN)
    await any_redis.hset(keys.MEMBERS, "webui", msgspec.json.encode(admin))
    with pytest.raises(BadRequest) as raised:
        await store.remove("Mum")
    assert raised.value.code == "last_admin"


async def test_two_admins_who_remove_each_other_at_once_leave_one(redis: Redis) -> None:
    store = MemberStore(redis, PROFILE)
    for name in ("mum", "dad"):
        await store.add(name, Role.ADMIN)
    results = await asyncio.gather(store.remove("mum"), store.remove("dad"), return_exceptions=True)
    assert sorted(isinstance(result, BadRequest) for result in results) == [False, True]
    assert len(await store.all()) == 1


async def test_changes_at_once_all_count(redis: Redis, broker_url: str) -> None:
    """Each from a front, and a connection, of its own."""
    await MemberStore(redis, PROFILE).add("leo", Role.CHILD)
    clients = [connect(broker_url) for _ in range(4)]
    wanted = {"running": 3, "waiting": 4, "tokens_per_day": 5, "requests_per_minute": 6, "weight": 7.0}
    changes = [Change(own={name: limit}) for name, limit in wanted.items()] + [Change(role=Role.ADULT)]
    stores = [MemberStore(client, PROFILE) for client in clients]
    await asyncio.gather(*(stores[i % 4].change("leo", change) for i, change in enumerate(changes)))
    for client in clients:
        await client.aclose()
    member = await MemberStore(redis, PROFILE).get("leo")
    assert (member.own, member.role) == (wanted, Role.ADULT)


async def test_members_get_the_lowest_lane_that_is_free(store: MemberStore) -> None:
    assert [(await store.add(name, Role.ADULT))[0].lane for name in "abc"] == [0, 1, 2]
    await store.remove("b")
    assert [(await store.add(name, Role.ADULT))[0].lane for name in "def"] == [1, None, None]


async def test_a_lane_that_comes_free_goes_to_whoever_waits_for_one(store: MemberStore, any_redis: Redis) -> None:
    for name in "abcd":
        await store.add(name, Role.ADULT)
    await store.remove("a")
    assert {member.name: member.lane for member in await store.all()} == {"b": 1, "c": 2, "d": 0}
    assert await any_redis.hgetall(keys.LANE_OWNERS) == {b"0": b"d", b"1": b"b", b"2": b"c"}


@pytest.mark.parametrize("waiting", ["chat.00", "asr.00.batch", "chat.00.background"])
async def test_a_lane_in_which_somebody_waits_is_not_given(store: MemberStore, any_redis: Redis, waiting: str) -> None:
    await any_redis.sadd(keys.active(waiting.partition(".")[0]), waiting, "no lane")
    assert (await store.add("ada", Role.ADULT))[0].lane == 1


async def test_lanes_taken_at_once_are_taken_once(redis: Redis, broker_url: str) -> None:
    clients = [connect(broker_url) for _ in range(6)]
    stores = [MemberStore(client, PROFILE) for client in clients]
    added = await asyncio.gather(*(store.add(f"m{i}", Role.ADULT) for i, store in enumerate(stores)))
    for client in clients:
        await client.aclose()
    lanes = [member.lane for member, _ in added]
    assert sorted(lane for lane in lanes if lane is not None) == [0, 1, 2]
    owners = {int(lane): name.decode() for lane, name in (await redis.hgetall(keys.LANE_OWNERS)).items()}
    assert owners == {member.lane: member.name for member, _ in added if member.lane is not None}


async def test_a_lane_beyond_the_last_is_none(store: MemberStore, any_redis: Redis) -> None:
    """The catalogue had more lanes when it was given."""
    wide = PROFILE.model_copy(update={"fairness": PROFILE.fairness.model_copy(update={"lanes": 9})})
    for name in "abcd":
        _, key = await MemberStore(any_redis, wide).add(name, Role.ADULT)
    member = await store.authenticate(key)
    assert member is not None
    assert member.lane is None
    await store.remove("a")
    assert [member.lane for member in await store.all()] == [1, 2, 0]
    assert sorted(await any_redis.hkeys(keys.LANE_OWNERS)) == [b"0", b"1", b"2"]


async def test_nothing_of_a_removed_member_is_left(store: MemberStore, any_redis: Redis) -> None:
    await store.add("ada", Role.ADULT, Change(user=user_key("u-1")))
    await any_redis.hset(keys.in_flight("ada"), "job-1", "w 1 9 1")
    await store.remove("ADA")
    assert await any_redis.keys("*") == []


async def test_a_key_that_lost_its_member_is_nobodys(store: MemberStore, any_redis: Redis) -> None:
    _, key = await store.add("ada", Role.ADULT)
    await any_redis.hdel(keys.MEMBERS, "ada")
    assert await store.authenticate(key) is None


async def test_an_unknown_user_becomes_a_child_without_a_key(store: MemberStore, any_redis: Redis) -> None:
    member = await store.of_user("u-1", "Leo")
    assert (member.name, member.role, member.key_id, member.lane) == ("Leo", Role.CHILD, "", 0)
    assert await store.of_user("u-1", "Somebody else now") == member
    assert await any_redis.hlen(keys.API_KEYS) == 0
    _, key = await store.rotate("leo")
    found = await store.authenticate(key)
    assert found is not None
    assert found.name == "Leo"


async def test_a_user_is_found_by_id_never_by_name(store: MemberStore) -> None:
    mum, _ = await store.add("Mum", Role.ADMIN)
    other = await store.of_user("u-1", "mum")
    another = await store.of_user("u-2", "ＭＵＭ")
    assert (other.name, other.role) == ("mum (2)", Role.CHILD)
    assert (another.name, another.role) == ("ＭＵＭ (3)", Role.CHILD)
    assert await store.get("mum") == mum


async def test_a_linked_user_is_that_member(store: MemberStore) -> None:
    await store.add("Mum", Role.ADMIN)
    linked = await store.change("mum", Change(user=user_key("u-1")))
    assert await store.of_user("u-1", "whoever") == linked
    with pytest.raises(BadRequest, match="'Mum' already"):
        await store.add("Dad", Role.ADULT, Change(user=user_key("u-1")))
    await store.change("mum", Change(user=None))
    assert (await store.of_user("u-1", "Mum")).role is Role.CHILD


async def test_a_user_who_comes_to_two_fronts_at_once_is_one_member(redis: Redis, broker_url: str) -> None:
    clients = [connect(broker_url) for _ in range(8)]
    stores = [MemberStore(client, PROFILE) for client in clients]
    found = await asyncio.gather(*(store.of_user("u-1", "Leo") for store in stores))
    for client in clients:
        await client.aclose()
    assert len({member.name for member in found}) == 1
    assert len(await MemberStore(redis, PROFILE).all()) == 1
    assert await redis.hlen(keys.LANE_OWNERS) == 1


def of_chat_users(most: int) -> Profile:
    return PROFILE.model_copy(update={"limits": PROFILE.limits.model_copy(update={"chat_users": most})})


async def test_after_the_tenth_of_a_name_newcomers_differ_by_their_id(store: MemberStore) -> None:
    found = [(await store.of_user(f"u-{number}", "Leo")).name for number in range(12)]
    assert found[:10] == ["Leo", *(f"Leo ({number})" for number in range(2, 11))]
    hashes = [hashlib.sha256(user_key(user_id).encode()).hexdigest() for user_id in ("u-10", "u-11")]
    assert found[10:] == [f"Leo ({digest[:6]})" for digest in hashes]
    await store.remove("Leo")
    assert (await store.of_user("u-11", "Leo")).name == found[11]


async def test_a_newcomer_whose_every_short_name_is_taken(store: MemberStore) -> None:
    for name in namesakes("Leo", user_key("u-1"))[:11]:
        await store.add(name, Role.CHILD)
    assert re.fullmatch(r"Leo \([0-9a-f]{12}\)", (await store.of_user("u-1", "Leo")).name)


@pytest.mark.parametrize("here", [1, 60])
async def test_a_newcomer_takes_a_handful_of_round_trips_however_many_are_called_alike(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, here: int
) -> None:
    store = MemberStore(redis, PROFILE)
    for number in range(here):
        await store.of_user(f"u-{number}", "Leo")
    trips, send = [], Connection.send_packed_command

    async def counted(connection: Connection, command: object, *options: object, **more: object) -> None:
        trips.append(command)
        await send(connection, command, *options, **more)

    monkeypatch.setattr(Connection, "send_packed_command", counted)
    await store.of_user("new", "Leo")
    assert 1 < len(trips) <= 8


async def test_so_many_may_come_by_themselves(any_redis: Redis) -> None:
    store = MemberStore(any_redis, of_chat_users(2))
    await store.add("Mum", Role.ADMIN)
    known = [await store.of_user(f"u-{number}", "Leo") for number in range(2)]
    with pytest.raises(Forbidden) as raised:
        await store.of_user("it's u-9", "Leo")
    assert raised.value.code == "too_many_users"
    for way in ("member link NAME " + shlex.quote("it's u-9"), "member remove", "`chat_users`", "2"):
        assert way in raised.value.message
    assert await store.of_user("u-1", "Leo") == known[1]
    assert await names(store) == ["Mum", "Leo", "Leo (2)"]


async def leave(store: MemberStore) -> None:
    await store.remove("Leo")


async def get_a_key(store: MemberStore) -> None:
    await store.rotate("Leo")


async def be_mum(store: MemberStore) -> None:
    await store.change("Mum", Change(user=user_key("u-9")))


@pytest.mark.parametrize("act", [leave, get_a_key, be_mum])
async def test_what_a_parent_can_do_about_it(any_redis: Redis, act: Callable[[MemberStore], Awaitable[None]]) -> None:
    store = MemberStore(any_redis, of_chat_users(1))
    await store.add("Mum", Role.ADMIN)
    await store.of_user("u-1", "Leo")
    with pytest.raises(Forbidden):
        await store.of_user("u-9", "Mia")
    await act(store)
    assert (await store.of_user("u-9", "Mia")).name == ("Mum" if act is be_mum else "Mia")


async def test_nobody_comes_by_themselves_where_none_may(any_redis: Redis) -> None:
    store = MemberStore(any_redis, of_chat_users(0))
    linked, _ = await store.add("Mum", Role.ADMIN, Change(user=user_key("u-1")))
    assert await store.of_user("u-1", "Mum") == linked
    with pytest.raises(Forbidden):
        await store.of_user("u-2", "Leo")


async def test_of_many_who_come_at_once_no_more_come_in(redis: Redis, broker_url: str) -> None:
    clients = [connect(broker_url) for _ in range(8)]
    stores = [MemberStore(client, of_chat_users(3)) for client in clients]
    coming = [store.of_user(f"u-{number}", "Leo") for number in range(8) for store in (stores[number], stores[0])]
    results = await asyncio.gather(*coming, return_exceptions=True)
    for client in clients:
        await client.aclose()
    assert {type(result) for result in results} == {Member, Forbidden}
    assert await redis.hlen(keys.MEMBERS) == await redis.hlen(keys.USERS) == 3
    assert len({result.name for result in results if isinstance(result, Member)}) == 3


@pytest.mark.parametrize("user_id", ["", " ", "x" * 256, "a\nb", "\x00"])
async def test_what_is_no_users_id(store: MemberStore, user_id: str) -> None:
    with pytest.raises(BadRequest):
        await store.of_user(user_id, "Leo")
    assert await store.all() == []
