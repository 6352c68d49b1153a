"""Libraries that would tell their makers how they are used are told not to, before any of them is loaded."""

import os

VARIABLES = ("ORT_DISABLE_TELEMETRY", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY")
"""Of ONNX Runtime (whose `disable_telemetry_events()` does not end its calls), vLLM, and who keeps to the custom."""


def turn_off() -> None:
    """For this process and those that it starts."""
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
