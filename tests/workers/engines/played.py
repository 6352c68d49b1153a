"""A vLLM whose engine core is played: it says a script. What makes outputs of its tokens is vLLM's own."""

from collections.abc import AsyncGenerator, Iterable
from types import SimpleNamespace
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

EOS = 256
PROMPT = [39, 72]  # "Hi"
CONTEXT_TOKENS = 1000


def byte_tokenizer() -> Any:
    """A token for every byte: a character that is none of ASCII takes several."""
    alphabet = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), ByteDecoder()
    tokenizer.add_special_tokens(["<end>"])
    assert tokenizer.token_to_id("<end>") == EOS
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


class PlayedClient:
    """As much of vLLM's `AsyncLLM` as an answer needs. Its engine core says what is left of the script."""

    def __init__(self, script: list[int]) -> None:
        self.script = script
        self.calls: list[tuple[Any, Any, str, dict[str, Any]]] = []
        self.aborted = False
        self.input_processor = self
        self.output_processor = SimpleNamespace(tokenizer=byte_tokenizer())
        self.model_config = SimpleNamespace(max_model_len=CONTEXT_TOKENS)

    async def get_supported_tasks(self) -> tuple[str, ...]:
        return ("generate",)

    def process_inputs(self, request_id: str, prompt: Any, params: Any, supported_tasks: Any) -> Any:
        from vllm.v1.engine import EngineCoreRequest

        params = params.clone()
        params.update_from_generation_config({}, EOS)
        ids = prompt["prompt_token_ids"]
        return EngineCoreRequest(request_id, ids, None, params, None, 0.0, None, None, None)

    def assign_request_id(self, request: Any) -> None:
        request.external_req_id, request.request_id = request.request_id, "internal"

    async def generate(self, prompt: Any, sampling_params: Any, request_id: str, **options: Any) -> Any:
        self.calls.append((prompt, sampling_params, request_id, options))
        said = len(prompt["prompt_token_ids"]) - len(PROMPT)
        try:
            for ids, reason in ends([[token] for token in self.script[said:]], sampling_params.max_tokens):
                yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, finish_reason=reason, stop_reason=None)])
        except GeneratorExit:
            self.aborted = True
            raise


def ends(groups: Iterable[list[int]], max_tokens: int) -> Iterable[tuple[list[int], str | None]]:
    """The groups as an engine core gives them out: with the end at the one that brings it."""
    count = 0
    for ids in groups:
        count += len(ids)
        reason = "stop" if ids[-1] == EOS else "length" if count >= max_tokens else None
        yield ids, reason
        if reason:
            return


async def undisturbed(client: PlayedClient, params: Any, groups: list[list[int]]) -> AsyncGenerator[Any, None]:
    """What vLLM yields of these groups in one attempt."""
    from vllm.v1.engine import FINISH_REASON_STRINGS, EngineCoreOutput, FinishReason
    from vllm.v1.engine.output_processor import OutputProcessor

    request = client.process_inputs("r", {"prompt_token_ids": PROMPT}, params, ())
    client.assign_request_id(request)
    processor = OutputProcessor(client.output_processor.tokenizer, log_stats=False)
    processor.add_request(request, "Hi")
    for ids, reason in ends(groups, request.sampling_params.max_tokens):
        finish = None if reason is None else FinishReason(FINISH_REASON_STRINGS.index(reason))
        core = EngineCoreOutput(request.request_id, list(ids), finish_reason=finish)
        for output in processor.process_outputs([core]).request_outputs:
            yield output
            if output.finished:
                return
