"""Files that a command writes for a person."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from familyai.errors import FamilyAIError


@contextmanager
def whole(path: Path) -> Iterator[io.BufferedWriter]:
    """A file that is there when the block has ended without an exception, and else never was. Raises FamilyAIError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise FamilyAIError(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Raises FamilyAIError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise FamilyAIError(f"{folder} is a file: results need a folder") from error
    except OSError as error:
        raise FamilyAIError(f"cannot make the folder {folder}: {error.strerror}") from error
