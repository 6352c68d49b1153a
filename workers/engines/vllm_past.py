"""vLLM goes on with a broken answer: it says again what the client has, and generates from there.

vLLM's own bookkeeping says it. An `OutputProcessor` for this one answer makes outputs of token ids: their text, what a
stop string holds back, and the end that one makes. The scheduler's `Request` and `check_stop` know whether the answer
had ended. The engine core only generates, from the prompt and all tokens so far: text and stop strings run on over the
join.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from familyai.past import Outputs
from workers import at_hand

Generate = Callable[..., AsyncGenerator[Any, None]]

CONTINUED_PROMPTS = ("token", "multimodal")
"""Prompts that are a list of token ids, to which more can be added."""

NOT_RECORDED = ("logprobs", "logprob_token_ids", "prompt_logprobs", "structured_outputs", "trace_decode_token_ids")
"""What a past made of token ids does not tell: probabilities, and how far a grammar has come."""


def going_on(client: Any) -> Generate:
    """The engine client's `generate`, going on with the answer of the job at hand where its client has a part of it.

    Raises NotImplementedError for a request of which that is never asked (`Job.continues`).
    """
    generate: Generate = client.generate

    def go_on(prompt: Any, sampling_params: Any, request_id: str, **options: Any) -> AsyncGenerator[Any, None]:
        job = at_hand.current.get()
        if job is None or not job.past.outputs:
            return generate(prompt, sampling_params, request_id, **options)
        _check(prompt, sampling_params)
        return _go_on(client, generate, job.past.outputs, (prompt, sampling_params, request_id), options)

    return go_on


def _check(prompt: Any, sampling_params: Any) -> None:
    kind = prompt.get("type") if isinstance(prompt, dict) else type(prompt).__name__
    if kind not in CONTINUED_PROMPTS:
        raise NotImplementedError(f"no answer to a prompt of type {kind} can be continued")
    asked = [name for name in NOT_RECORDED if getattr(sampling_params, name) is not None]
    if asked or sampling_params.n > 1:
        raise NotImplementedError(f"no answer with {', '.join(asked) or 'n > 1'} can be continued")


async def _go_on(
    client: Any, generate: Generate, past: Outputs, call: tuple[Any, Any, str], options: dict[str, Any]
) -> AsyncGenerator[Any, None]:
    prompt, sampling_params, request_id = call
    answer = await begin(client, prompt, sampling_params, request_id)
    for ids in past:
        output = answer.repeat(ids)
        yield output
        if output.finished:
            return
        await asyncio.sleep(0)  # a long past must not hold up the others
    outputs = generate(answer.extend(prompt), answer.rest(sampling_params), request_id, **options)
    async with aclosing(outputs):
        async for new in outputs:
            output = answer.add(new)
            yield output
            if output.finished:  # perhaps by a stop string, of which the engine core knows nothing
                return


async def begin(client: Any, prompt: Any, sampling_params: Any, request_id: str) -> "Answer":
    """The answer before its first token, with the limits and ends that vLLM would give it."""
    inputs = client.input_processor
    request = inputs.process_inputs(request_id, prompt, sampling_params, await client.get_supported_tasks())
    inputs.assign_request_id(request)
    request.sampling_params.stream_interval = None  # outputs are grouped already
    return Answer(request, prompt.get("prompt"), client.output_processor.tokenizer, client.model_config.max_model_len)


class Answer:
    """One answer over all attempts, as vLLM keeps it: made of vLLM's `RequestOutput`s, of the kind that was asked."""

    def __init__(self, request: Any, prompt_text: str | None, tokenizer: Any, context_tokens: int) -> None:
        from vllm.v1.engine.output_processor import OutputProcessor
        from vllm.v1.request import Request

        self._request = request
        self._scheduled = Request.from_engine_core_request(request, None)
        self._context_tokens = context_tokens
        self._processor = OutputProcessor(tokenizer, log_stats=False)
        self._processor.add_request(request, prompt_text)

    def repeat(self, ids: tuple[int, ...]) -> Any:
        """A recorded output once more; it is finished if the answer ended with it."""
        from vllm.v1.core.sched.utils import check_stop

        scheduled = self._scheduled
        scheduled.append_output_token_ids(list(ids))
        if ids:
            check_stop(scheduled, self._context_tokens)
        return self._output(ids, scheduled.get_finished_reason(), scheduled.stop_reason)

    def add(self, new: Any) -> Any:
        """What the engine core generated beyond the past."""
        from vllm.v1.engine import FINISH_REASON_STRINGS, FinishReason

        (choice,) = new.outputs
        finished = choice.finish_reason
        reason = None if finished is None else FinishReason(FINISH_REASON_STRINGS.index(finished))
        return self._output(choice.token_ids, reason, choice.stop_reason)

    def _output(self, ids: Any, reason: Any, stop_reason: Any) -> Any:
        from vllm.v1.engine import EngineCoreOutput

        output = EngineCoreOutput(self._request.request_id, list(ids), finish_reason=reason, stop_reason=stop_reason)
        (made,) = self._processor.process_outputs([output]).request_outputs
        return made

    def extend(self, prompt: Any) -> Any:
        """The prompt with all that was said so far."""
        return {**prompt, "prompt_token_ids": list(self._scheduled.all_token_ids)}

    def rest(self, sampling_params: Any) -> Any:
        """What is still to be generated: tokens only, text is made here."""
        from vllm.sampling_params import RequestOutputKind

        known = self._scheduled.num_output_tokens
        rest = sampling_params.clone()
        rest.max_tokens = self._scheduled.max_tokens - known
        rest.min_tokens = max(0, sampling_params.min_tokens - known)
        rest.output_kind = RequestOutputKind.DELTA
        rest.detokenize, rest.stop = False, []
        return rest
