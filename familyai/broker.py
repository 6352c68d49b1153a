"""Connections to the broker: Valkey, or any server that speaks Redis's protocol."""

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

BROKER_ERRORS = (RedisError, OSError)
"""What a command may raise when the broker is down, restarting, full or frozen."""

CONNECTIONS = 32
"""Per client: a burst of requests shares them, where one connection each would cost a handshake each."""


def connect(url: str, *, timeout_s: float = 5.0) -> Redis:
    """A client with a few connections, for which commands queue up; one answers or fails within about `timeout_s`.

    A command is tried once more at once on a broken connection, which a restarted broker leaves in every pool. So each
    command must be safe to repeat.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError, RedisTimeoutError)),
    )
    return _steady(Redis.from_pool(pool))


def connect_alone(url: str, *, timeout_s: float = 5.0) -> Redis:
    """A client of one connection, for one task that sends one command after the other: half the cost per command."""
    client = Redis.from_url(
        url,
        single_connection_client=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError, RedisTimeoutError)),
    )
    return _steady(client)


def connect_pubsub(url: str) -> Redis:
    """A client for subscriptions: nothing is tried twice, for what came in between would be missing unnoticed."""
    client = Redis.from_url(
        url, socket_timeout=5.0, socket_connect_timeout=5.0, socket_keepalive=True, retry=Retry(NoBackoff(), 0)
    )
    return _steady(client)


class _Steady:
    """A connection of redis-py's that has broken under uvloop, which raises RuntimeError where asyncio is silent, says
    what redis-py can bear, and so do all who use it."""

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        try:
            await super().send_packed_command(*args, **options)  # type: ignore[misc]
        except RuntimeError as error:
            raise RedisConnectionError("the connection was closed") from error


def _steady(client: Redis) -> Redis:
    pool = client.connection_pool
    pool.connection_class = type("SteadyConnection", (_Steady, pool.connection_class), {})
    return client
