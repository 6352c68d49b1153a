"""A zip archive, sent while it is written: it is never whole in memory or on disk."""

import time
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, cast

from familyai.blobs import CHUNK_BYTES, BlobStore


class _Sink:
    """Where the archive is written to; it cannot be sought in, which `zipfile` knows how to do without."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def archive(blobs: BlobStore, entries: Iterable[tuple[str, str]], made_at_s: float) -> Iterator[bytes]:
    """Pieces of an archive of these (entry's name, blob), all dated so. Blocks; what is gone meanwhile is left out.

    Raises OSError when the store is gone.
    """
    sink = _Sink()
    with zipfile.ZipFile(cast(IO[bytes], sink), "w") as made:
        for name, blob in entries:
            try:
                source = blobs.open(blob)
            except FileNotFoundError:
                continue
            with source, made.open(_entry(name, made_at_s), "w") as entry:
                while chunk := source.read(CHUNK_BYTES):
                    entry.write(chunk)
                    yield sink.take()
            yield sink.take()
    yield sink.take()


def _entry(name: str, made_at_s: float) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, time.localtime(made_at_s)[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry
