"""One real worker process over the real broker."""

import asyncio
import os
import signal
import socket

import httpx
import psutil
from redis.asyncio import Redis

from familyai import keys
from familyai.frame import End, Failed
from familyai.jobs import State
from familyai.registry import WorkerRegistry
from tests.integration.conftest import Caller, Process, StartProcess
from tests.support import Broker, wait_until
from workers.host import ENGINE_DIED


async def until(condition, what: str) -> None:  # type: ignore[no-untyped-def]
    """Waits on the loop until a coroutine function says yes."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_streamed_answer(worker: Process, caller: Caller) -> None:
    job, reply = await caller.ask("to be or not to be")
    assert isinstance(await reply.end(), End)
    assert reply.start.status == 200
    assert reply.text.endswith("data: [DONE]\n\n")
    assert [frame.seq for frame in reply.frames] == list(range(len(reply.frames)))
    await until(lambda: _state(caller, job.id, State.DONE), "the record says so")


async def test_answers_go_to_their_own_callers(worker: Process, caller: Caller) -> None:
    asked = [await caller.ask(f"question number {number}", echo={"tokens_per_s": 200}) for number in range(60)]
    for number, (_, reply) in enumerate(asked):
        await reply.end()
        assert f'"content": "{number} "' in reply.text


async def test_frames_of_many_streams_share_messages(worker: Process, caller: Caller) -> None:
    asked = [await caller.ask("word", max_tokens=300, ignore_eos=True, echo={"tokens_per_s": 100}) for _ in range(32)]
    for _, reply in asked:
        await reply.end()
    frames = sum(len(reply.frames) for _, reply in asked)
    assert caller.messages < frames / 2


async def test_a_failing_engine_harms_only_its_job(worker: Process, caller: Caller) -> None:
    _, broken = await caller.ask("one two three", echo={"fail": "after:2"})
    _, whole = await caller.ask("four")
    assert isinstance(await broken.end(), Failed)
    assert "[DONE]" not in broken.text
    assert isinstance(await whole.end(), End)


async def test_a_cancelled_answer_stops(worker: Process, caller: Caller, redis: Redis) -> None:
    job, reply = await caller.ask("word", max_tokens=10_000, ignore_eos=True, echo={"tokens_per_s": 20})
    await until(lambda: _has(reply.frames), "the first frame")
    await caller.jobs.cancel(job.id)
    await until(lambda: _idle(worker), "the engine is idle")
    assert not reply.ended.is_set()


async def test_sigterm_drains(worker: Process, caller: Caller, redis: Redis) -> None:
    _, running = await caller.ask("word", max_tokens=40, ignore_eos=True, echo={"tokens_per_s": 40})
    await until(lambda: _has(running.frames), "the first frame")
    worker.popen.send_signal(signal.SIGTERM)
    assert isinstance(await running.end(), End)
    assert await asyncio.to_thread(worker.popen.wait, 20) == 0
    assert await WorkerRegistry(redis).alive(["chat-fast"]) == {"chat-fast": set()}
    assert await redis.hlen(keys.unacked("chat-fast")["unacked_key"]) == 0


async def test_sigkill_leaves_no_process(worker: Process) -> None:
    children = worker.children()
    os.kill(worker.popen.pid, signal.SIGKILL)
    worker.popen.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


async def test_a_dead_engine_ends_its_worker(worker: Process, caller: Caller) -> None:
    await caller.ask("one two", echo={"die": True})
    assert await asyncio.to_thread(worker.popen.wait, 20) == ENGINE_DIED


async def test_the_worker_outlives_the_broker(worker: Process, caller: Caller, broker: Broker) -> None:
    broker.kill()
    await asyncio.to_thread(broker.start)

    async def answered() -> bool:
        _, reply = await caller.ask("still here")
        try:
            return isinstance(await asyncio.wait_for(reply.end(), 5), End)
        except TimeoutError:
            return False

    await until(answered, "an answer after the restart")
    assert worker.popen.poll() is None


async def test_tokens_are_counted(worker: Process, caller: Caller) -> None:
    _, reply = await caller.ask("a b c")
    await reply.end()
    wait_until(lambda: 'kind="generated",queue="chat-fast"} 3.0' in _metrics(worker), "three tokens are counted")


def test_an_unknown_queue_is_a_clear_error(start_process: StartProcess) -> None:
    process = start_process("workers", "no-such-queue", "--port", "PORT", healthy=False)
    assert process.popen.wait(30) == 1
    log = process.log.read_text()
    assert "no-such-queue" in log
    assert "Traceback" not in log


def test_a_taken_port_is_a_clear_error_before_anything_loads(start_process: StartProcess) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start_process("workers", "chat-fast", "--port", "PORT", port=port, healthy=False)
        assert process.popen.wait(30) == 1
    assert f"port {port} of the worker is taken" in process.log.read_text()


async def _state(caller: Caller, job_id: str, state: State) -> bool:
    (record,) = await caller.jobs.records([job_id])
    return record.state is state


async def _has(frames: list[object]) -> bool:
    return bool(frames)


async def _idle(worker: Process) -> bool:
    async with httpx.AsyncClient() as client:
        return bool((await client.get(f"{worker.url}/health")).json()["running"] == 0)


def _metrics(worker: Process) -> str:
    return httpx.get(f"{worker.url}/metrics", timeout=30).text
