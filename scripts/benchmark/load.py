"""The loads themselves: what one client sees, and what many streams at once see."""

import asyncio
from collections.abc import Sequence
from time import perf_counter, process_time

import psutil

from .client import Connection, Recording, connections
from .figures import Load, Run, Timing, latest_s
from .questions import Question, WrongAnswer, check_whole, http_request, word_times
from .setup import Way

SHORT_ANSWER_TOKENS = 8
RAMP_S = 1.0
LIMIT_S = 60.0
GENERATOR = "load generator"


async def one_client(ways: Sequence[Way], count: int, stream: bool) -> dict[str, list[Timing]]:
    """`count` short answers on each way, one after the other, the ways taking turns. Raises WrongAnswer."""
    timings: dict[str, list[Timing]] = {way.name: [] for way in ways}
    clients = [(way, await Connection.open(way.port)) for way in ways]
    try:
        for index in range(count):
            for way, connection in clients:
                timings[way.name].append(await _short_answer(way, connection, f"one{index}", stream))
    finally:
        for _, connection in clients:
            connection.close()
    return timings


async def run_streams(way: Way, load: Load, label: str) -> Run:
    """All streams of a load at once: together when as fast as possible, spread over `RAMP_S` when they have a pace.

    Raises WrongAnswer for any answer that is not whole and right, and when the load is not over within `LIMIT_S`.
    """
    questions = [Question(f"{label}s{index}", load.tokens, True, load.tokens_per_s) for index in range(load.streams)]
    ramp_s = RAMP_S if load.tokens_per_s and load.streams > 1 else 0.0
    async with connections(way.port, load.streams) as opened:
        asking = [
            _ask_after(ramp_s * index / load.streams, connection, http_request(question, way.port, way.api_key))
            for index, (connection, question) in enumerate(zip(opened, questions, strict=True))
        ]
        cpu_s, begun_s = _cpu_s(way), perf_counter()
        recordings = await _within_limit(way, load, asking)
        seconds, cpu_after_s = perf_counter() - begun_s, _cpu_s(way)
    run = _read(load, questions, recordings)
    run.seconds = seconds
    run.cpu_s = {name: cpu_after_s[name] - before for name, before in cpu_s.items()}
    return run


async def _short_answer(way: Way, connection: Connection, name: str, stream: bool) -> Timing:
    question = Question(name, SHORT_ANSWER_TOKENS, stream)
    recording = await connection.ask(http_request(question, way.port, way.api_key))
    if stream:
        first_s = word_times(question, recording.chunks)[0]
    else:
        check_whole(question, recording.body)
        first_s = recording.first_byte_s
    return Timing(first_s - recording.sent_s, recording.end_s - recording.sent_s)


async def _ask_after(delay_s: float, connection: Connection, request: bytes) -> Recording:
    if delay_s:
        await asyncio.sleep(delay_s)
    return await connection.ask(request)


async def _within_limit(way: Way, load: Load, asking: Sequence["asyncio._CoroutineLike[Recording]"]) -> list[Recording]:
    try:
        async with asyncio.timeout(LIMIT_S):
            return await asyncio.gather(*asking)
    except TimeoutError as error:
        raise WrongAnswer(f"{way.name}: {load.streams} streams were not answered within {LIMIT_S:g} s") from error


def _read(load: Load, questions: Sequence[Question], recordings: Sequence[Recording]) -> Run:
    run = Run(load)
    for question, recording in zip(questions, recordings, strict=True):
        times = word_times(question, recording.chunks)
        run.tokens += len(times)
        run.first_word_s.append(times[0] - recording.sent_s)
        if load.tokens_per_s:
            run.late_s.append(latest_s(times, load.tokens_per_s))
    return run


def _cpu_s(way: Way) -> dict[str, float]:
    """CPU seconds so far, user and system, of each process of this way and of this one."""
    seconds = {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in way.pids.items()}
    return {**seconds, GENERATOR: process_time()}
