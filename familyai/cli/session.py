"""What every command needs: the settings, the broker, and errors that a person can act on."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import typer
from redis.asyncio import Redis

from familyai.broker import BROKER_ERRORS, connect
from familyai.cli import state
from familyai.cli.console import own_command
from familyai.cli.home import Home
from familyai.errors import FamilyAIError
from familyai.settings import Settings, load_settings

_T = TypeVar("_T")


class NotRunning(FamilyAIError):
    """There is nobody to talk to."""


def settings_of_stack() -> Settings:
    """Those that the running stack was started with, else the client's. Raises ConfigurationError."""
    client = load_settings()
    home = Home(client.home)
    running = state.load(home)
    if running is None or not state.is_alive(running.pid, running.created_at_s):
        return client
    values: dict[str, Any] = {
        key.removeprefix("FAMILYAI_").lower(): value for key, value in running.environment.items()
    }
    return Settings(_env_file=(home.broker_env, home.env), **values)


@asynccontextmanager
async def broker(settings: Settings) -> AsyncIterator[Redis]:
    """A client of the stack's broker. Raises NotRunning when there is none, or none that answers."""
    url = settings.broker_url.get_secret_value()
    if not url:
        raise NotRunning(f"no broker is known in {settings.home.resolve()}; start FamilyAI with: {own_command()} up")
    redis = connect(url)
    try:
        yield redis
    except BROKER_ERRORS as error:
        where = urlsplit(url)
        raise NotRunning(
            f"the broker at {where.hostname}:{where.port} does not answer ({type(error).__name__}); "
            f"{own_command()} status says more, {own_command()} up starts it"
        ) from error
    finally:
        await redis.aclose()


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Runs it, with Ctrl-C as a quiet end."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
