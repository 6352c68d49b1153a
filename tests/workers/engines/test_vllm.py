import sys
from dataclasses import dataclass, replace
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest

from familyai.catalogue import Model
from familyai.limits import Limits
from workers.engines.vllm import NO_MEDIA_HOST, _metered, _metered_encode, _report, command_line
from workers.meter import Meter, current_meter

LIMITS = Limits()
MODEL = Model.model_validate({"model": "a/b", "engine": "vllm", "memory_gb": 1, "slots": 2})


def test_no_outside_host_serves_media() -> None:
    words = command_line(MODEL, LIMITS, "/models/b")
    assert words[words.index("--allowed-media-domains") + 1] == NO_MEDIA_HOST


def test_listed_hosts_reach_the_engine() -> None:
    words = command_line(MODEL, Limits(media_domains=("a.example", "b.example")), "/models/b")
    place = words.index("--allowed-media-domains")
    assert words[place + 1 : place + 3] == ["a.example", "b.example"]


def test_the_catalogue_has_the_last_word() -> None:
    model = MODEL.model_copy(
        update={"context_tokens": 100, "engine_args": {"enforce-eager": True, "trust": False, "max-model-len": 50}}
    )
    words = command_line(model, LIMITS, "/models/b")
    assert words[words.index("--max-model-len") + 1] == "50"
    assert "--enforce-eager" in words
    assert "--trust" not in words


async def outputs(*ids: list[int]) -> Any:
    for tokens in ids:
        choice = SimpleNamespace(index=0, token_ids=tokens)
        yield SimpleNamespace(prompt_token_ids=[1, 2, 3], outputs=[choice])


async def test_deltas_are_counted_as_they_come() -> None:
    meter = Meter()
    passed = [output async for output in _report(meter, outputs([7], [8, 9]), cumulative=False)]
    assert (meter.prompt, meter.generated) == (3, 3)
    assert [output.outputs[0].token_ids for output in passed] == [[7], [8, 9]]


async def test_cumulative_outputs_are_not_counted_twice() -> None:
    meter = Meter()
    async for _ in _report(meter, outputs([7], [7, 8, 9]), cumulative=True):
        pass
    assert (meter.prompt, meter.generated) == (3, 3)


async def test_an_embedding_s_prompt_is_counted_once() -> None:
    def encode(prompt: str, pooling_params: Any, request_id: str) -> Any:
        return outputs([], [])

    current_meter.set(meter := Meter())
    passed = [output async for output in _metered_encode(encode)("words", None, request_id="r")]
    assert (meter.prompt, meter.generated, len(passed)) == (3, 0, 2)


class Kind(Enum):
    """As vLLM names them."""

    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


@dataclass
class Params:
    output_kind: Kind
    n: int = 1

    def clone(self) -> "Params":
        return replace(self)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Params]:
    """What the engine was asked for; its answer grows by a token at a time, as its parameters say."""
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", SimpleNamespace(RequestOutputKind=Kind))
    return []


def engine_that_notes(asked: list[Params], ids: list[int]) -> Any:
    async def generate(prompt: Any, sampling_params: Params, request_id: str) -> Any:
        asked.append(sampling_params)
        for count in range(1, len(ids) + 1):
            finished = count == len(ids)
            if sampling_params.output_kind is not Kind.FINAL_ONLY or finished:
                some = ids[count - 1 : count] if sampling_params.output_kind is Kind.DELTA else ids[:count]
                choice = SimpleNamespace(index=0, token_ids=some)
                yield SimpleNamespace(prompt_token_ids=[1, 2, 3], outputs=[choice], finished=finished)

    return _metered(generate)


@pytest.mark.parametrize("kind", Kind)
async def test_what_was_answered_so_far_is_known_though_the_answer_is_wanted_whole(
    asked: list[Params], kind: Kind
) -> None:
    current_meter.set(meter := Meter())
    outputs = engine_that_notes(asked, [7, 8, 9])({"prompt_token_ids": [1, 2, 3]}, Params(kind), "r")
    assert (meter.prompt, meter.generated) == (3, 0)  # before anything is read
    passed = [output async for output in outputs]
    assert (meter.prompt, meter.generated) == (3, 3)
    assert len(passed) == (1 if kind is Kind.FINAL_ONLY else 3)
    assert passed[-1].finished
    assert asked[0].output_kind is (Kind.CUMULATIVE if kind is Kind.FINAL_ONLY else kind)


async def test_several_answers_wanted_whole_are_left_as_they_are(asked: list[Params]) -> None:
    """Only so does vLLM put them together."""
    current_meter.set(meter := Meter())
    outputs = engine_that_notes(asked, [7, 8])("text", Params(Kind.FINAL_ONLY, n=2), "r")
    assert len([output async for output in outputs]) == 1
    assert asked[0].output_kind is Kind.FINAL_ONLY
    assert (meter.prompt, meter.generated) == (3, 2)


async def test_without_a_meter_nothing_is_touched(asked: list[Params]) -> None:
    current_meter.set(None)
    params = Params(Kind.FINAL_ONLY)
    assert len([output async for output in engine_that_notes(asked, [7, 8])("text", params, "r")]) == 1
    assert asked == [params]
