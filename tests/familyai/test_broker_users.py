"""What each of the broker's users may do, as the broker itself says."""

import re

import pytest
from redis import Redis

from familyai import keys
from familyai.broker_users import FLOWER, FRONT, OWNER, USERS, WORKER, access_list
from tests.support import PASSWORDS, Broker, as_user

ROWS = [row.split("|")[1:4] for row in (keys.__doc__ or "").splitlines() if row.startswith("| `")]
WRITES = {"hash": "HSET {} f 1", "zset": "ZADD {} 1 m", "set": "SADD {} m", "string": "SET {} 1", "list": "LPUSH {} m"}
PLAIN_ROWS = [row for row in ROWS if row[1].strip() in WRITES]
"""Without channels, and what only Celery's transport knows."""
HARMFUL = """
FLUSHALL | FLUSHDB | SCRIPT FLUSH | FUNCTION FLUSH | FUNCTION LIST | SWAPDB 0 1 | RESTORE k 0 x | MIGRATE h 1 k 0 1 |
CONFIG GET * | CONFIG SET dir /tmp | ACL LIST | ACL SETUSER x | MODULE LIST | REPLICAOF h 1 | DEBUG SLEEP 0 | SHUTDOWN |
SAVE | MONITOR | SLOWLOG GET | KEYS * | SCAN 0 | RANDOMKEY | CLIENT KILL ID 1 | CLIENT PAUSE 1
"""


@pytest.fixture
def admin(broker: Broker) -> Redis:
    """Somebody who may ask what the users may."""
    return Redis.from_url(broker.url)


def may(admin: Redis, user: str, command: str) -> bool:
    return admin.execute_command("ACL", "DRYRUN", user, *command.split()) == b"OK"


@pytest.mark.parametrize("command", [command.strip() for command in HARMFUL.split("|")])
def test_nobody_may_harm_the_broker_or_look_over_others_shoulders(admin: Redis, command: str) -> None:
    assert [user for user in USERS if may(admin, user, command)] == []


def test_front_and_supervisor_may_ask_for_a_rewriting(admin: Redis) -> None:
    assert [user for user in USERS if may(admin, user, "BGREWRITEAOF")] == [OWNER, FRONT]


@pytest.mark.parametrize(("name", "kind", "writers"), PLAIN_ROWS)
def test_who_is_said_to_write_a_key_may(admin: Redis, name: str, kind: str, writers: str) -> None:
    """So a key that a worker begins to write has to be granted to it, and not before."""
    key = re.sub(r"\{(lane|queue)\}", "chat-fast.03", name.split("`")[1]).replace("{", "").replace("}", "")
    command = WRITES[kind.strip()].format(key)
    assert may(admin, WORKER, command) == ("worker" in writers or "kombu" in writers)
    assert may(admin, FRONT, command)
    assert may(admin, OWNER, command)
    assert not may(admin, FLOWER, command)


@pytest.mark.parametrize("key", [keys.MEMBERS, keys.API_KEYS, keys.file("1"), keys.batch("1"), keys.transcription("1")])
def test_a_worker_cannot_even_read_who_the_members_are_and_what_they_keep(admin: Redis, key: str) -> None:
    assert not may(admin, WORKER, f"GET {key}")
    assert not may(admin, FLOWER, f"GET {key}")


@pytest.mark.parametrize("command", ["CLIENT LIST ID 1", "CLIENT UNBLOCK 1", "BRPOP chat-fast.03 1", "TIME", "INFO"])
def test_a_worker_may_end_its_own_waiting(admin: Redis, command: str) -> None:
    assert may(admin, WORKER, command)


def test_flower_reads_lines_and_no_job(admin: Redis) -> None:
    assert may(admin, FLOWER, "LLEN chat-fast.03.batch")
    assert may(admin, FLOWER, "PSUBSCRIBE /0.celeryev/*")
    assert not may(admin, FLOWER, "PSUBSCRIBE *")
    assert not may(admin, FLOWER, f"HGETALL {keys.job('1')}")
    assert not may(admin, FLOWER, f"PUBLISH {keys.control('w')} x")
    assert not may(admin, FLOWER, f"SUBSCRIBE {keys.reply('front-1')}")


def test_each_has_a_password_of_its_own_and_nobody_comes_without_a_name(broker: Broker) -> None:
    lines = access_list(["chat"], PASSWORDS)
    assert lines[0] == "user default off"
    assert not [line for line in lines for password in PASSWORDS.values() if password in line]
    for user in USERS:
        assert Redis.from_url(as_user(user, broker.url)).ping()
