"""Large request bodies, kept out of the broker: one object per job in an fsspec file system."""

import asyncio
import time
from typing import Any, cast

import fsspec

from familyai.errors import ConfigurationError


class BlobStore:
    """Objects by name under one fsspec URL (`file:///…`, `s3://bucket/prefix`).

    The file system's calls block, so each runs in a thread. Names are FamilyAI's own job ids, never a client's text.
    """

    def __init__(self, url: str) -> None:
        """Raises ConfigurationError for a URL of no file system that is installed here."""
        try:
            self._fs, self._root = cast(tuple[Any, str], fsspec.core.url_to_fs(url))
        except (ValueError, ImportError) as error:
            raise ConfigurationError(f"FAMILYAI_BLOB_URL: {error}") from error

    async def put(self, name: str, data: bytes) -> None:
        """Visible only when whole. Raises OSError when the store is full or gone."""
        await asyncio.to_thread(self._put, name, data)

    async def get(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        return cast(bytes, await asyncio.to_thread(self._fs.cat_file, self._path(name)))

    async def delete(self, name: str) -> None:
        """Deleting what is not there is no error."""
        await asyncio.to_thread(self._delete, name)

    async def delete_older_than(self, age_s: float) -> int:
        """Removes what a crash left behind; returns how many objects."""
        return await asyncio.to_thread(self._delete_older_than, age_s)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _put(self, name: str, data: bytes) -> None:
        self._fs.makedirs(self._root, exist_ok=True)
        self._fs.pipe_file(self._path(f"{name}.part"), data)
        self._fs.mv(self._path(f"{name}.part"), self._path(name))

    def _delete(self, name: str) -> None:
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def _delete_older_than(self, age_s: float) -> int:
        if not self._fs.exists(self._root):
            return 0
        horizon_s = time.time() - age_s
        return sum(self._delete_if_older(path, horizon_s) for path in self._fs.ls(self._root, detail=False))

    def _delete_if_older(self, path: str, horizon_s: float) -> bool:
        try:
            if self._fs.modified(path).timestamp() >= horizon_s:
                return False
            self._fs.rm_file(path)
        except FileNotFoundError:  # its job has just ended
            return False
        return True
