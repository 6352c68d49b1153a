"""Connections to the broker: Valkey, or any server that speaks Redis's protocol."""

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
    return Redis.from_pool(pool)


def connect_alone(url: str, *, timeout_s: float = 5.0) -> Redis:
    """A client of one connection, for one task that sends one command after the other: half the cost per command."""
    return Redis.from_url(
        url,
        single_connection_client=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError, RedisTimeoutError)),
    )


def connect_pubsub(url: str) -> Redis:
    """A client for subscriptions: nothing is tried twice, for what came in between would be missing unnoticed."""
    return Redis.from_url(
        url, socket_timeout=5.0, socket_connect_timeout=5.0, socket_keepalive=True, retry=Retry(NoBackoff(), 0)
    )
