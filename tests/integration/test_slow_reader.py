"""A client that stops reading a long answer is cut off, before the front's memory is full of it and others suffer."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import psutil
from redis.asyncio import Redis

from familyai import keys
from familyai.broker_users import FRONT
from familyai.members import MemberStore
from tests.integration.conftest import Process, StartProcess, front_client
from tests.integration.household import until
from tests.integration.streams import Stream, chat
from tests.support import as_user

UNREAD_MB, ANSWER_MB = 8, 400
WORD_BYTES = 20_000
BOUNDED = f"""
import runpy
import api.replies
api.replies.MOST_UNREAD_BYTES = {UNREAD_MB * 1_000_000}
runpy.run_module("api", run_name="__main__", alter_sys=True)
"""
"""A front that keeps so much of what is not read: the whole suite's machine need not hold a household's."""


async def test_a_client_that_stops_reading_harms_nobody(
    start_process: StartProcess, worker: Process, members: MemberStore, redis: Redis, broker_url: str, tmp_path: Path
) -> None:
    (tmp_path / "bounded_front.py").write_text(BOUNDED)
    fronts: list[Process] = []

    def start(_: str) -> Process:
        fronts.append(start_process("bounded_front", FAMILYAI_BROKER_URL=as_user(FRONT, broker_url)))
        return fronts[0]

    async with front_client(start, members) as client:
        memory = psutil.Process(fronts[0].popen.pid).memory_info
        other = Stream(client, "who reads", 400)
        async with asyncio.TaskGroup() as group:
            group.create_task(other.read())
            await other.has(5)
            before_mb = memory().rss / 1e6
            reader, writer = await ask_for_a_long_answer(fronts[0], client.headers["authorization"])

            async def only_one_runs() -> bool:
                return await redis.hlen(keys.running("chat-fast")) == 1

            await until(only_one_runs, "its engine has stopped")
            after_mb = memory().rss / 1e6
            received = await asyncio.wait_for(reader.read(), 30)
            writer.close()
        other.check()

    assert after_mb - before_mb < 20 * UNREAD_MB < ANSWER_MB
    assert len(received) < 5 * UNREAD_MB * 1_000_000 < ANSWER_MB * 1_000_000
    assert b'"not_read"' in received
    assert b"[DONE]" not in received


async def ask_for_a_long_answer(
    front: Process, authorization: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Of which nothing is read for now but that it has begun."""
    words = ANSWER_MB * 1_000_000 // WORD_BYTES
    body = orjson.dumps(chat("x" * WORD_BYTES, words, echo={"tokens_per_s": 2000}))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: front\r\nConnection: close\r\nAuthorization: {authorization}\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(front.url).port, limit=1000)
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert b" 200 " in await asyncio.wait_for(reader.readline(), 30)
    return reader, writer
