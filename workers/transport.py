"""kombu's transport for Redis, for which a full broker is one that is gone for a while.

A message that was taken cannot be noted as taken there; Celery's worker would end of it. So it connects anew instead,
as after a restart, and a front pushes the message again (`api.watch`).
"""

from kombu.transport import redis
from redis.exceptions import ExecAbortError, OutOfMemoryError

NAME = f"{__name__}:Transport"
"""As Celery's configuration names it."""


class Transport(redis.Transport):  # type: ignore[misc]
    connection_errors = (*redis.Transport.connection_errors, OutOfMemoryError, ExecAbortError)
