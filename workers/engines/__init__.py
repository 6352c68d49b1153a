"""An engine is an ASGI application; each adapter is one module here with an `open_engine` of this shape."""

import importlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from starlette.types import ASGIApp

from familyai.catalogue import Model
from familyai.errors import ConfigurationError
from familyai.limits import Limits


@dataclass(frozen=True)
class Engine:
    """What a worker needs of an engine: the application, and whether it can still answer."""

    app: ASGIApp
    healthy: Callable[[], bool] = lambda: True


OpenEngine = Callable[[Model, Limits, Path], AbstractAsyncContextManager[Engine]]
"""Loads the model on entry (this may take minutes) and frees all it took on exit."""


def find_engine(model: Model) -> OpenEngine:
    """The adapter named in the catalogue. Raises ConfigurationError when it, or what it needs, is not installed."""
    module = f"workers.engines.{model.engine}"
    try:
        return cast(OpenEngine, importlib.import_module(module).open_engine)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"engine '{model.engine}' of {model.model} needs the module {error.name}") from error
