"""vLLM in process: its own OpenAI application over its own engine client, without a socket in between."""

import os
from argparse import Namespace
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from familyai.catalogue import Model
from familyai.limits import Limits
from workers.engines import Engine
from workers.engines.vllm_past import going_on
from workers.engines.vllm_steady import hold_steady, steady
from workers.meter import Meter, current_meter
from workers.prepare import model_path

NO_MEDIA_HOST = "media.invalid"
"""vLLM reads an empty list of allowed media domains as "all": so one that can never exist."""


GRAMMAR_BACKEND = "xgrammar"
"""Left to choose, vLLM takes the backend that the first schema needs and keeps it for all: an odd schema then breaks
everybody's tool calls. This one refuses what it cannot do, with 400."""


@asynccontextmanager
async def open_engine(model: Model, limits: Limits, home: Path) -> AsyncIterator[Engine]:
    """Loads the model (seconds to minutes); frees it, the engine core's process included, on exit."""
    _stay_home()
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.api_server.entry import build_async_engine_client
    from vllm.entrypoints.launchers.app import build_app

    hold_steady()
    arguments = _parse(command_line(model, limits, model_path(model, home)))
    async with build_async_engine_client(arguments) as client:
        client.generate = _metered(going_on(client))
        client.encode = _metered_encode(client.encode)
        tasks = await client.get_supported_tasks()
        app = build_app(arguments, tasks, client.model_config)
        await init_app_state(client, app.state, arguments, tasks)
        yield Engine(steady(app), healthy=lambda: not client.errored)


def command_line(model: Model, limits: Limits, path: str) -> list[str]:
    """The catalogue's entry in the words of `vllm serve`; `engine_args` come last and win."""
    options: dict[str, Any] = {
        "model": path,
        "served-model-name": [model.model],
        "allowed-media-domains": list(limits.media_domains) or [NO_MEDIA_HOST],
        "structured-outputs-config.backend": GRAMMAR_BACKEND,
        "disable-log-stats": False,
        "disable-fastapi-docs": True,
    }
    if model.context_tokens:
        options["max-model-len"] = model.context_tokens
    if model.revision:
        options["revision"] = model.revision
    return [word for name, value in {**options, **model.engine_args}.items() for word in _option(name, value)]


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}", str(value)]


def _parse(words: list[str]) -> Namespace:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args(words)
    validate_parsed_serve_args(arguments)
    return arguments  # type: ignore[no-any-return]


def _stay_home() -> None:
    """vLLM's own sockets on loopback, no way round the allowed hosts."""
    os.environ.setdefault("VLLM_HOST_IP", "127.0.0.1")
    os.environ.setdefault("VLLM_MEDIA_URL_ALLOW_REDIRECTS", "0")  # a listed host must not lead to one that is not


def _metered(generate: Any) -> Any:
    """Wraps the engine client's `generate`: what it yields is reported to the job at hand and passed on untouched.

    An answer that is wanted whole comes in pieces all the same, of which only the last is passed on: else nobody would
    know what it took when its client left in the middle.
    """

    def metered(prompt: Any, sampling_params: Any, request_id: str, **options: Any) -> AsyncGenerator[Any, None]:
        meter = current_meter.get()
        if meter is None:
            return generate(prompt, sampling_params, request_id, **options)  # type: ignore[no-any-return]
        in_pieces, is_whole = _in_pieces(sampling_params)
        outputs = generate(prompt, in_pieces, request_id, **options)
        reported = _report(meter, outputs, _cumulative(in_pieces), _known_prompt(meter, prompt))
        return _last(reported) if is_whole else reported

    return metered


def _in_pieces(sampling_params: Any) -> tuple[Any, bool]:
    """The same answer as it grows, and whether it was wanted whole. Several answers at once come whole all the same."""
    from vllm.sampling_params import RequestOutputKind

    if sampling_params.output_kind != RequestOutputKind.FINAL_ONLY or sampling_params.n > 1:
        return sampling_params, False
    in_pieces = sampling_params.clone()
    in_pieces.output_kind = RequestOutputKind.CUMULATIVE
    return in_pieces, True


def _known_prompt(meter: Meter, prompt: Any) -> bool:
    """Reports the prompt's length before it is read, if it is known by then."""
    ids = prompt.get("prompt_token_ids") if isinstance(prompt, dict) else None
    if ids:
        meter.saw_prompt(len(ids))
    return bool(ids)


async def _last(outputs: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    async with aclosing(outputs):
        async for output in outputs:
            if output.finished:
                yield output


def _metered_encode(encode: Any) -> Any:
    """The same for embeddings, which have a prompt and no answer."""

    def metered(*arguments: Any, **options: Any) -> AsyncGenerator[Any, None]:
        outputs = encode(*arguments, **options)
        meter = current_meter.get()
        return _report_prompt(meter, outputs) if meter else outputs

    return metered


async def _report_prompt(meter: Meter, outputs: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    prompt_seen = False
    async for output in outputs:
        if not prompt_seen:
            meter.saw_prompt(len(output.prompt_token_ids or ()))
            prompt_seen = True
        yield output


async def _report(
    meter: Meter, outputs: AsyncGenerator[Any, None], cumulative: bool, prompt_seen: bool = False
) -> AsyncGenerator[Any, None]:
    seen: dict[int, int] = {}
    async with aclosing(outputs):
        async for output in outputs:
            if not prompt_seen:
                meter.saw_prompt(len(output.prompt_token_ids or ()))
                prompt_seen = True
            for choice in output.outputs:
                known = seen.get(choice.index, 0) if cumulative else 0
                meter.saw_tokens(choice.index, list(choice.token_ids[known:]))
                seen[choice.index] = len(choice.token_ids)
            yield output


def _cumulative(sampling_params: Any) -> bool:
    from vllm.sampling_params import RequestOutputKind

    return bool(sampling_params.output_kind == RequestOutputKind.CUMULATIVE)
