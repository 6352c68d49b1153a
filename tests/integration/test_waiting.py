"""The wait over real processes: one slot, and people who see where they stand, leave, and are told in time."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from familyai.allowance import Role
from familyai.members import MemberStore
from tests.integration.conftest import Process, StartProcess
from tests.support import status_of, wait_until

LIMIT_S = 200.0
CHAT = "/v1/chat/completions"


@pytest.fixture
def environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A model that serves one at a time."""
    model = {"model": "familyai/echo", "engine": "echo", "memory_gb": 0.1, "slots": 1, "reserve_slots": 0}
    profile = {"memory_budget_gb": 1, "queues": {"chat-fast": model}, "aliases": {"auto": "chat-fast"}}
    (tmp_path / "one-slot.yaml").write_text(json.dumps({"profiles": {"one-slot": profile}}))
    return {**environment, "FAMILYAI_CATALOGUE": str(tmp_path / "one-slot.yaml"), "FAMILYAI_PROFILE": "one-slot"}


@pytest.fixture
def fronts(start_process: StartProcess, worker: Process) -> list[Process]:
    made = [start_process("api") for _ in range(2)]
    for front in made:
        wait_until(lambda: status_of(f"{front.url}/health/ready") == 200, "the front is ready")  # noqa: B023
    return made


@dataclass
class Stream:
    """An answer under way."""

    response: httpx.Response
    text: str = ""
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lines = self.response.aiter_lines()

    @property
    def id(self) -> str:
        return self.response.headers["x-familyai-job-id"]

    async def until(self, words: str) -> str:
        """The first line with these words."""
        async for line in self._lines:
            if line.startswith(":"):
                self.comments.append(line)
            if words in line:
                return line
        raise AssertionError(f"the answer ended without {words}")

    async def rest(self) -> list[str]:
        return [line.removeprefix("data: ") async for line in self._lines if line.startswith("data: ")]


@dataclass
class Person:
    """Somebody at one of the fronts."""

    client: httpx.AsyncClient

    @asynccontextmanager
    async def asks(self, text: str = "word", *, endless: bool = False, **more: Any) -> AsyncIterator[Stream]:
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], "stream": True, **more}
        if endless:
            body |= {"max_tokens": 100_000, "ignore_eos": True, "echo": {"tokens_per_s": 20}}
        async with asyncio.timeout(LIMIT_S), self.client.stream("POST", CHAT, json=body) as response:
            assert response.status_code == 200, await response.aread()
            yield Stream(response)

    async def job(self, job_id: str, method: str = "GET") -> httpx.Response:
        return await self.client.request(method, f"/v1/jobs/{job_id}")


@dataclass
class Household:
    anna: Person
    ben: Person
    at_the_other_front: Person
    """Anna again."""


@pytest.fixture
async def household(fronts: list[Process], members: MemberStore) -> AsyncIterator[Household]:
    _, annas = await members.add("anna", Role.ADULT)
    _, bens = await members.add("ben", Role.CHILD)
    async with AsyncExitStack() as stack:
        people = []
        for key, front in ((annas, fronts[0]), (bens, fronts[0]), (annas, fronts[1])):
            headers = {"authorization": f"Bearer {key}"}
            client = httpx.AsyncClient(base_url=front.url, headers=headers, timeout=LIMIT_S)
            people.append(Person(await stack.enter_async_context(client)))
        yield Household(*people)


async def test_a_place_in_the_line_falls_until_it_is_ones_turn(household: Household) -> None:
    anna, ben = household.anna, household.ben
    async with AsyncExitStack() as line:
        first = await line.enter_async_context(anna.asks(endless=True))
        await first.until("data: ")
        second = await line.enter_async_context(anna.asks(endless=True))
        third = await line.enter_async_context(anna.asks("one two"))
        assert second.response.headers["x-familyai-queue-position"] == "1"
        assert third.response.headers["x-familyai-queue-position"] == "2"
        await third.until(": queued position=2")
        assert (await anna.job(third.id)).json()["position"] == 2

        await anna.job(first.id, "DELETE")
        await third.until(": queued position=1")
        await second.until("data: ")
        assert (await anna.job(second.id)).json()["state"] == "running"
        for person, own in ((anna, 1), (ben, 0)):
            (line,) = (await person.client.get("/v1/queue")).json()["data"]
            assert (line["running"], line["waiting"]) == (1, 1)
            assert (len(line["running_jobs"]), len(line["waiting_jobs"])) == (own, own)

        await anna.job(second.id, "DELETE")
        await third.until("data: ")
        rest = await third.rest()
        assert rest[-1] == "[DONE]"
        assert json.loads(rest[0])["choices"][0]["delta"]["content"] == "two "


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_taken_back_while_it_runs(
    household: Household, elsewhere: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    anna = household.anna
    asked_at = household.at_the_other_front if elsewhere else anna
    async with anna.asks(endless=True) as running, anna.asks("next") as waiting:
        began_s = time.monotonic()
        answer = await asked_at.job(running.id, "DELETE")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        await waiting.until("data: ")
        with capsys.disabled():
            print(
                f" [the next one's first words {(time.monotonic() - began_s) * 1000:.0f} ms after the DELETE]", end=""
            )
        last = json.loads((await running.rest())[-1])
        assert last["error"]["code"] == "cancelled"
        assert (await waiting.rest())[-1] == "[DONE]"


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_taken_back_while_it_waits(household: Household, elsewhere: bool) -> None:
    anna = household.anna
    asked_at = household.at_the_other_front if elsewhere else anna
    async with anna.asks(endless=True) as running, anna.asks() as waiting:
        assert (await asked_at.job(waiting.id, "DELETE")).json()["state"] == "cancelled"
        assert json.loads((await waiting.rest())[-1])["error"]["code"] == "cancelled"
        job = (await anna.job(waiting.id)).json()
        assert (job["state"], job["attempt"], job["started_at"]) == ("cancelled", 0, None)
        await running.until("data: ")
        await anna.job(running.id, "DELETE")
    async with anna.asks("after") as after:
        assert (await after.rest())[-1] == "[DONE]"


async def nobody_is_served(person: Person) -> None:
    async with asyncio.timeout(LIMIT_S):
        while (await person.client.get("/v1/queue")).json()["data"][0]["running"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_the_engines_own_refusal_comes_in_the_stream_that_waited(household: Household) -> None:
    anna = household.anna
    async with anna.asks(endless=True) as running, anna.asks(max_tokens=-1) as waiting:
        await anna.job(running.id, "DELETE")
        refused = json.loads((await waiting.rest())[-1])["error"]
        assert (refused["type"], refused["param"]) == ("invalid_request_error", "max_tokens")
    await nobody_is_served(anna)
    answer = await anna.client.post(CHAT, json={"model": "auto", "stream": True, "messages": [], "max_tokens": -1})
    assert answer.status_code == 400, "as long as nobody waited"


async def test_a_deadline_that_cannot_be_kept(household: Household) -> None:
    anna, patience = household.anna, {"X-FamilyAI-Deadline-S": "5"}
    short = {"model": "auto", "messages": [{"role": "user", "content": "one two"}]}
    slow = {**short, "echo": {"delay_s": 1}}
    assert (await anna.client.post(CHAT, json=slow, headers=patience)).status_code == 200  # a second for each, it seems
    async with AsyncExitStack() as stack:
        line = [await stack.enter_async_context(anna.asks(endless=True)) for _ in range(9)]
        refused = await anna.client.post(CHAT, json=short, headers=patience)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "deadline")
        assert 1 <= int(refused.headers["retry-after"]) <= 60  # nine jobs, of seconds each on a machine that is busy
        for stream in reversed(line):
            await anna.job(stream.id, "DELETE")
    async with asyncio.timeout(LIMIT_S):
        while (await anna.client.post(CHAT, json=short, headers=patience)).status_code != 200:
            pass  # until this is seen


async def test_others_jobs_are_nobodys(household: Household) -> None:
    async with household.anna.asks(endless=True) as running:
        for method in ("GET", "DELETE"):
            assert (await household.ben.job(running.id, method)).status_code == 404
        await running.until("data: ")
        assert (await household.ben.client.get("/v1/jobs")).json()["data"] == []
        assert (await household.anna.job(running.id)).json()["state"] == "running"
