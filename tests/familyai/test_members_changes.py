"""Members change: limits, roles, keys, users; and all of it at once."""

import asyncio
import hashlib
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
from familyai.errors import BadRequest, Forbidden
from familyai.members import Change, Member, MemberStore, user_key
from familyai.names import namesakes
from tests.familyai.people import PROFILE, be_mum, get_a_key, leave, names, of_chat_users


@pytest.fixture
def store(any_redis: Redis) -> MemberStore:
    return MemberStore(any_redis, PROFILE)


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
