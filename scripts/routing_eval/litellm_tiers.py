"""Run with a Python that has LiteLLM: reads conversations from stdin, a JSON list of messages a line, and prints the
tier that LiteLLM's complexity router chooses for each. The argument is the router's `classifier_type`.

It asks the router as LiteLLM's own proxy does, before a deployment is chosen, and refuses itself the network.
"""

import sys


def _refuse_network(event: str, args: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise OSError(f"no network here: {args[1:]}")


sys.addaudithook(_refuse_network)

import asyncio  # noqa: E402
import json  # noqa: E402
import warnings  # noqa: E402
from typing import Any  # noqa: E402

import litellm  # noqa: E402

TIERS = ("SIMPLE", "MEDIUM", "COMPLEX", "REASONING")


def router(classifier: str) -> Any:
    """Each tier is served by a model of its name, which nobody ever asks."""
    settings = {"tiers": {tier: tier for tier in TIERS}, "classifier_type": classifier}
    auto = {"model": "auto_router/complexity_router", "complexity_router_config": settings}
    auto["complexity_router_default_model"] = "MEDIUM"
    served = [{"model_name": tier, "litellm_params": {"model": f"openai/{tier}", "api_key": "none"}} for tier in TIERS]
    return litellm.Router(model_list=[*served, {"model_name": "auto", "litellm_params": auto}])


async def main() -> None:
    chooses = router(sys.argv[1])
    for line in sys.stdin:
        chosen = await chooses.async_pre_routing_hook(model="auto", request_kwargs={}, messages=json.loads(line))
        print(chosen.model)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    litellm.telemetry = False
    asyncio.run(main())
