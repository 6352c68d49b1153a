"""A batch's input, read as it lies in the blob store: never whole in memory, refused line by line."""

from collections.abc import AsyncGenerator

from api.body import parse
from familyai.batches import Problem
from familyai.blobs import BlobStore
from familyai.errors import BadRequest
from familyai.limits import Limits
from routing.lines import Line, LineSplitter, read_line

MOST_PROBLEMS = 100

Numbered = list[tuple[int, bytes]]
"""Some lines, each with its number in the file."""


async def numbered_lines(blobs: BlobStore, name: str, limits: Limits) -> AsyncGenerator[Numbered, None]:
    """The lines that hold something, as many at a time as a chunk holds. Raises FileNotFoundError, OSError."""
    splitter = LineSplitter(int(limits.json_body_mb * 1e6))
    async for chunk in blobs.chunks(name):
        yield list(splitter.feed(chunk))
    yield list(splitter.finish())


def read(data: bytes, endpoint: str, limits: Limits) -> Line:
    """Raises BadRequest."""
    if len(data) > limits.json_body_mb * 1e6:
        raise BadRequest(f"This line is over the limit of {limits.json_body_mb:g} MB.", code="line_too_large")
    try:
        line = parse(data)
    except BadRequest as error:
        raise BadRequest(f"This line cannot be read: {error.message}.", code="invalid_json_line") from error
    return read_line(line, endpoint)


class InputCheck:
    """Whether a batch's input is sound, as far as it was shown: `problems` holds the first of what is not."""

    def __init__(self, endpoint: str, limits: Limits) -> None:
        self.total = 0
        self.problems: list[Problem] = []
        self._endpoint = endpoint
        self._limits = limits
        self._seen: set[str] = set()

    @property
    def is_hopeless(self) -> bool:
        """Whether looking on would say nothing new."""
        return self.total > self._limits.batch_lines or len(self.problems) >= MOST_PROBLEMS

    def add(self, lines: Numbered) -> None:
        """The next lines. Takes its time: for a thread."""
        for number, data in lines:
            self.total += 1
            if self.total > self._limits.batch_lines:
                words = f"The file has more than {self._limits.batch_lines} requests."
                self.problems = [Problem("too_many_tasks", words)]
            if self.is_hopeless:
                return
            self._check(number, data)

    def end(self) -> None:
        """There are no more."""
        if not self.total:
            self.problems.append(Problem("empty_file", "The file has no requests."))

    def _check(self, number: int, data: bytes) -> None:
        try:
            custom_id = read(data, self._endpoint, self._limits).custom_id
            if custom_id in self._seen:
                words = f"The custom_id '{custom_id}' was used on an earlier line."
                raise BadRequest(words, param="custom_id", code="duplicate_custom_id")
            self._seen.add(custom_id)
        except BadRequest as error:
            self.problems.append(Problem(error.code or error.type, error.message, error.param, number))
