"""Where the blob store's exceptions stop."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from familyai.errors import InsufficientStorage, Unavailable

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raises InsufficientStorage or Unavailable (`blob_store_down`) for what the store raises inside.

    Wrap nothing that raises an OSError of its own.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise InsufficientStorage("the household's disk is full: delete something, then send it again") from error
        raise Unavailable("uploads cannot be stored now", code="blob_store_down", retry_after_s=10) from error
