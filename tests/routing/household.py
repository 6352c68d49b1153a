"""A household with a queue for every kind, for the tests of the router."""

from typing import Any

from familyai.allowance import Allowance
from familyai.catalogue import Profile

KINDS = {
    "code-traditional": ["code-traditional", "code-agentic", "chat-fast"],
    "code-agentic": ["code-agentic", "code-traditional"],
    "chat-lightweight": ["chat-lightweight", "chat-fast"],
    "chat-fast": ["chat-fast", "chat-reasoning", "chat-lightweight"],
    "chat-reasoning": ["chat-reasoning", "chat-fast"],
    "side-task": ["chat-lightweight", "chat-fast"],
}
QUEUES = ("code-traditional", "code-agentic", "chat-lightweight", "chat-fast", "chat-reasoning", "vision")
ANYTHING = Allowance()


def model(name: str, **more: Any) -> dict[str, Any]:
    return {"model": f"org/{name}", "engine": "echo", "memory_gb": 1, "slots": 4, "context_tokens": 1000} | more


def household(**changes: dict[str, Any]) -> Profile:
    """`changes`: of queues, with underscores for dashes."""
    own = {name.replace("_", "-"): more for name, more in changes.items()}
    queues = {name: model(name, **{"sees_images": name == "vision"} | own.get(name, {})) for name in QUEUES}
    queues["ears"] = model("ears", tasks=["transcribe"])
    return Profile.model_validate(
        {
            "memory_budget_gb": 10,
            "queues": queues,
            "kinds": KINDS,
            "routes": {"auto": {}, "auto:code": {"kinds": ["code-traditional", "code-agentic"]}},
            "aliases": {"gpt-4o": "auto", "small": "chat-lightweight"},
        }
    )
