from types import SimpleNamespace
from typing import Any

from familyai.catalogue import Limits, Model
from workers.engines.vllm import NO_MEDIA_HOST, _metered_encode, _report, command_line
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
