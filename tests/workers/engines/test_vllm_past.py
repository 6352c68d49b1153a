"""A broken answer, continued: whatever was said before the break, the whole is what vLLM would have said in one go."""

from dataclasses import dataclass
from typing import Any

import pytest

from familyai.past import Outputs, Past
from tests.workers.engines.played import CONTEXT_TOKENS, EOS, PROMPT, PlayedClient, byte_tokenizer, undisturbed
from workers import at_hand
from workers.at_hand import AtHand
from workers.engines.vllm import _metered
from workers.engines.vllm_past import going_on
from workers.meter import Meter, current_meter

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

TEXT = "Über 3 € 🎉, and so on. The end is near."


@pytest.fixture(scope="module")
def words() -> list[int]:
    ids: list[int] = byte_tokenizer().encode(TEXT)
    return [*ids, EOS]


def asked(kind: str = "DELTA", **wishes: Any) -> Any:
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(output_kind=RequestOutputKind[kind], **{"max_tokens": 100, **wishes})


@dataclass(frozen=True)
class Said:
    """An output, as vLLM's serving layer reads it."""

    request_id: str
    prompt: str | None
    prompt_ids: list[int]
    text: str
    ids: list[int]
    finish: str | None
    stop: Any
    finished: bool


def read(output: Any) -> Said:
    (choice,) = output.outputs
    prompt_ids, ids = list(output.prompt_token_ids), list(choice.token_ids)
    end = (choice.finish_reason, choice.stop_reason, output.finished)
    return Said(output.request_id, output.prompt, prompt_ids, choice.text, ids, *end)


def pairs(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + 2] for start in range(0, len(ids), 2)]


async def continued(client: PlayedClient, params: Any, past: list[list[int]]) -> list[Said]:
    outputs: Outputs = tuple(tuple(ids) for ids in past)
    at_hand.current.set(AtHand(past=Past(frames=1, outputs=outputs)))
    prompt = {"type": "token", "prompt_token_ids": PROMPT, "prompt": "Hi"}
    stream = _metered(going_on(client))(prompt, params, "r", priority=3)
    assert prompt["prompt_token_ids"] == PROMPT
    return [read(output) async for output in stream]


WISHES: list[dict[str, Any]] = [
    {},
    {"max_tokens": 20},
    {"ignore_eos": True, "max_tokens": 30},
    {"stop": ["so on"]},
    {"stop": ["so on", "€ 🎉"], "include_stop_str_in_output": True},
    {"stop": ["never said"]},
    {"stop": ["so"], "min_tokens": 40},
    {"skip_special_tokens": False, "spaces_between_special_tokens": False, "include_stop_str_in_output": True},
]


@pytest.mark.parametrize("kind", ["DELTA", "CUMULATIVE"])
@pytest.mark.parametrize("wishes", WISHES, ids=str)
async def test_wherever_it_broke_the_whole_is_as_if_it_had_not(
    words: list[int], kind: str, wishes: dict[str, Any]
) -> None:
    for cut in range(1, len(pairs(words))):
        past, rest = pairs(words)[:cut], [[token] for token in words[2 * cut :]]
        client, params = PlayedClient(words), asked(kind, **wishes)
        whole = [read(output) async for output in undisturbed(client, params, past + rest)]
        assert await continued(client, params, past[: len(whole)]) == whole
        assert whole[-1].finished


async def test_prompt_and_tokens_are_counted_once(words: list[int]) -> None:
    current_meter.set(meter := Meter())
    await continued(PlayedClient(words), asked(), pairs(words)[:5])
    assert (meter.prompt, meter.generated) == (len(PROMPT), len(words))
    current_meter.set(meter := Meter())
    await continued(PlayedClient(words), asked("FINAL_ONLY"), pairs(words)[:5])
    assert (meter.prompt, meter.generated) == (len(PROMPT), len(words))


async def test_the_engine_generates_what_is_left(words: list[int]) -> None:
    client = PlayedClient(words)
    await continued(client, asked(max_tokens=15, min_tokens=12, stop=["x"], temperature=0.5), pairs(words)[:5])
    ((prompt, params, request_id, options),) = client.calls
    assert prompt["prompt_token_ids"] == [*PROMPT, *words[:10]]
    assert (params.max_tokens, params.min_tokens, params.temperature) == (5, 2, 0.5)
    assert (request_id, options) == ("r", {"priority": 3})


ENDED: dict[str, tuple[list[list[int]], dict[str, Any], tuple[str, Any]]] = {
    "its end": ([[1], [2, EOS]], {}, ("stop", None)),
    "a stop token": ([[1], [2]], {"stop_token_ids": [2]}, ("stop", 2)),
    "a stop string": ([[33], [32]], {"stop": ["A"]}, ("stop", "A")),
    "the most it may be long": ([[1], [2, 3]], {"max_tokens": 3}, ("length", None)),
    "the end of the context": ([[1]] * (CONTEXT_TOKENS - len(PROMPT)), {"max_tokens": 5000}, ("length", None)),
}


@pytest.mark.parametrize("case", ENDED.values(), ids=ENDED)
async def test_an_answer_that_had_ended_is_ended_again_without_the_engine(case: Any) -> None:
    past, wishes, end = case
    client = PlayedClient([1, 2, 3])
    said = await continued(client, asked(**{"max_tokens": 100, **wishes}), past)
    assert [output.finished for output in said] == [False] * (len(past) - 1) + [True]
    assert (said[-1].finish, said[-1].stop) == end
    assert client.calls == []


async def test_an_end_that_is_to_be_ignored_is_none(words: list[int]) -> None:
    client = PlayedClient([1, EOS, 2])
    said = await continued(client, asked(ignore_eos=True, max_tokens=2), [[1, EOS]])
    assert said[-1].finish == "length"
    said = await continued(client, asked(ignore_eos=True, max_tokens=3), [[1, EOS]])
    assert [output.ids for output in said] == [[1, EOS], [2]]


async def test_a_stop_string_across_the_join_stops_the_engine(words: list[int]) -> None:
    client = PlayedClient(words)
    said = await continued(client, asked(stop=["€ 🎉"]), pairs(words)[:5])
    assert "".join(output.text for output in said) == "Über 3 "
    assert said[-1].stop == "€ 🎉"
    assert client.aborted


async def test_a_client_that_leaves_stops_the_engine(words: list[int]) -> None:
    client = PlayedClient(words)
    at_hand.current.set(AtHand(past=Past(1, ((words[0], words[1]),))))
    prompt = {"type": "token", "prompt_token_ids": PROMPT}
    current_meter.set(Meter())
    stream = _metered(going_on(client))(prompt, asked(), "r")
    await anext(stream)
    await anext(stream)
    await stream.aclose()
    assert client.aborted


@pytest.mark.parametrize("job", [None, AtHand(created_s=5)])
async def test_an_answer_of_which_nothing_was_said_goes_to_the_engine_as_it_is(job: AtHand | None) -> None:
    client, params, prompt = PlayedClient([1, EOS]), asked(logprobs=1, n=2), {"prompt_token_ids": PROMPT}
    at_hand.current.set(job)
    assert len([output async for output in going_on(client)(prompt, params, "r", priority=1)]) == 2
    assert client.calls == [(prompt, params, "r", {"priority": 1})]


@pytest.mark.parametrize("wish", ["logprobs", "prompt_logprobs", "n"])
async def test_what_token_ids_do_not_tell_is_not_made_up(wish: str) -> None:
    with pytest.raises(NotImplementedError, match=f"with {wish}"):
        await continued(PlayedClient([1]), asked(**{wish: 2}), [[1]])


async def test_an_answer_that_follows_a_grammar_is_not_continued_without_it() -> None:
    from vllm.sampling_params import StructuredOutputsParams

    with pytest.raises(NotImplementedError, match="structured_outputs"):
        await continued(PlayedClient([1]), asked(structured_outputs=StructuredOutputsParams(choice=["a"])), [[1]])


async def test_a_prompt_without_token_ids_is_refused() -> None:
    at_hand.current.set(AtHand(past=Past(1, ((1,),))))
    with pytest.raises(NotImplementedError, match="embeds"):
        going_on(PlayedClient([1]))({"type": "embeds"}, asked(), "r")
