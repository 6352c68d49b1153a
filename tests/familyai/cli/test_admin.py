"""Whoever starts FamilyAI has a key that works."""

from redis.asyncio import Redis

from familyai.allowance import Role
from familyai.catalogue import Profile
from familyai.cli.admin import admin_key
from familyai.members import Change, MemberStore

PROFILE = Profile(memory_budget_gb=1, queues={})


async def test_the_first_start_makes_an_admin(redis: Redis) -> None:
    members = MemberStore(redis, PROFILE)
    member = await members.authenticate(await admin_key(members, ""))
    assert member is not None
    assert (member.name, member.role) == ("admin", Role.ADMIN)


async def test_a_key_that_works_stays(redis: Redis) -> None:
    members = MemberStore(redis, PROFILE)
    key = await admin_key(members, "")
    assert await admin_key(members, key) == key
    assert len(await members.all()) == 1


async def test_a_lost_or_foreign_key_is_replaced(redis: Redis) -> None:
    members = MemberStore(redis, PROFILE)
    old = await admin_key(members, "")
    new = await admin_key(members, "fai-000000000000-" + "a" * 43)
    assert await members.authenticate(old) is None
    assert await members.authenticate(new) is not None
    assert len(await members.all()) == 1


async def test_a_child_who_is_called_admin_keeps_their_key(redis: Redis) -> None:
    members = MemberStore(redis, PROFILE)
    _, theirs = await members.add("Admin", Role.CHILD)
    first = await members.authenticate(await admin_key(members, ""))
    second = await members.authenticate(await admin_key(members, ""))
    assert first is not None
    assert second is not None
    assert (first.name, first.role, second.name) == ("admin (2)", Role.ADMIN, "admin (2)")
    assert await members.authenticate(theirs) is not None


async def test_a_chat_user_who_is_called_admin_is_not_taken_over(redis: Redis) -> None:
    """Not even as an admin: else that person and whoever starts FamilyAI would be one member."""
    members = MemberStore(redis, PROFILE)
    await members.of_user("u-1", "Admin")
    user = await members.change("Admin", Change(role=Role.ADMIN))
    first = await members.authenticate(await admin_key(members, ""))
    assert first is not None
    assert first.name == "admin (2)"
    assert await members.get("Admin") == user
