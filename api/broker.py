"""Where redis-py's exceptions stop."""

from collections.abc import Iterator
from contextlib import contextmanager

from familyai.broker import BROKER_ERRORS
from familyai.errors import Unavailable


def broker_down() -> Unavailable:
    return Unavailable("the broker is down; try again in a moment", code="broker_down", retry_after_s=1)


@contextmanager
def broker_errors() -> Iterator[None]:
    """Raises Unavailable (`broker_down`) for what redis-py raises inside. Wrap calls to the broker, nothing else."""
    try:
        yield
    except BROKER_ERRORS as error:
        raise broker_down() from error
