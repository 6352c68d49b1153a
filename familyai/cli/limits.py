"""Limits as they are typed: `200000`, `none` for no limit, `default` for the role's. Pure."""

from collections.abc import Mapping
from typing import Any

import typer

from familyai.allowance import Allowance
from familyai.members import Change

NONE, DEFAULT = "none", "default"


def change_of(given: Mapping[str, Any]) -> Change:
    """Of a command's options those that are limits, and `trusted`. Raises BadParameter that names the option."""
    typed = {name: given[name].strip() for name in Allowance.model_fields if given.get(name) is not None}
    reset = tuple(name for name, text in typed.items() if text == DEFAULT)
    own = {name: _limit(name, text) for name, text in typed.items() if name not in reset}
    return Change(own=own, reset=reset, trusted=given.get("trusted"))


def _limit(name: str, text: str) -> Any:
    if text == NONE:
        return None
    if name == "models":
        return [part.strip() for part in text.split(",")]
    if name == "hours":
        return text
    try:
        return float(text) if name == "weight" else int(text)
    except ValueError:
        words = f"'{text}' is no number; write one, or {NONE} for no limit, or {DEFAULT} for the role's"
        raise typer.BadParameter(words, param_hint=option(name)) from None


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def words(limit: Any) -> str:
    """A limit as people read it; what they may type again."""
    if limit is None:
        return NONE
    if isinstance(limit, list | tuple):
        return ",".join(limit)
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def differences(own: Mapping[str, Any]) -> str:
    """What a member has of their own, in a line."""
    return ", ".join(f"{name.replace('_', ' ')} {words(limit)}" for name, limit in own.items())
