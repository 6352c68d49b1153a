import sys
import time
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from familyai.errors import ConfigurationError
from workers import at_hand
from workers.at_hand import AtHand
from workers.engines.vllm_steady import CLOCKED, NUMBERED, OWN_IDS, hold_steady, steady


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """vLLM's modules, as far as they draw times and ids."""
    made: dict[str, Any] = {name: SimpleNamespace(time=time) for name in CLOCKED}
    made |= {name: SimpleNamespace(uuid=uuid) for name in NUMBERED}
    made["vllm.utils"].random_uuid = lambda: str(made["vllm.utils"].uuid.uuid4())
    made[OWN_IDS] = SimpleNamespace(random_uuid=made["vllm.utils"].random_uuid)
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made


@pytest.mark.parametrize("name", CLOCKED)
def test_an_answer_says_when_its_job_came(modules: dict[str, Any], name: str) -> None:
    hold_steady()
    at_hand.current.set(AtHand(created_s=1234))
    assert modules[name].time.time() == 1234


@pytest.mark.parametrize("job", [None, AtHand()])
def test_without_a_job_the_clock_is_asked(modules: dict[str, Any], job: AtHand | None) -> None:
    hold_steady()
    at_hand.current.set(job)
    before_s = time.time()
    assert before_s <= modules[CLOCKED[0]].time.time() <= time.time()
    assert modules[CLOCKED[0]].time.perf_counter is time.perf_counter


async def ids_of(modules: dict[str, Any], request_id: str | None) -> list[str]:
    """Three ids, drawn while a request is answered, the second for the engine itself."""
    drawn: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        drawn.extend(modules[name].random_uuid() for name in ("vllm.utils", OWN_IDS, "vllm.utils"))

    headers = [(b"x-request-id", request_id.encode())] if request_id else []
    await steady(app)({"type": "http", "headers": headers}, SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]
    return drawn


async def test_every_attempt_draws_the_same_ids(modules: dict[str, Any]) -> None:
    hold_steady()
    first, own, last = await ids_of(modules, "job-1")
    again, own_again, last_again = await ids_of(modules, "job-1")
    assert (again, last_again) == (first, last)
    assert len({first, last, own, own_again}) == 4


@pytest.mark.parametrize("others", [("job-1", "job-2"), (None, None)])
async def test_other_requests_draw_others(modules: dict[str, Any], others: tuple[str | None, str | None]) -> None:
    hold_steady()
    one, other = [await ids_of(modules, request_id) for request_id in others]
    assert not set(one) & set(other)


def test_doing_it_twice_changes_nothing(modules: dict[str, Any]) -> None:
    hold_steady()
    once = [vars(module).copy() for module in modules.values()]
    hold_steady()
    assert [vars(module) for module in modules.values()] == once


@pytest.mark.parametrize("name", [*CLOCKED, *NUMBERED, OWN_IDS])
def test_a_vllm_that_draws_elsewhere_is_not_loaded(modules: dict[str, Any], name: str) -> None:
    for attribute in ("time", "uuid", "random_uuid"):
        if hasattr(modules[name], attribute) and (name, attribute) != ("vllm.utils", "random_uuid"):
            setattr(modules[name], attribute, None)
    with pytest.raises(ConfigurationError, match=name):
        hold_steady()
