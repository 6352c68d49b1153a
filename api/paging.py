"""Lists in pages, as OpenAI's clients turn them: by the id of the last item seen. Pure."""

from collections.abc import Sequence
from typing import Annotated, Protocol, TypeVar

from fastapi import Query

from familyai.errors import BadRequest

After = Annotated[str | None, Query(description="The id after which the page begins: the last one of the page before.")]


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


_T = TypeVar("_T", bound=_HasId)


def page(items: Sequence[_T], after: str | None, limit: int) -> tuple[list[_T], bool]:
    """The items of one page, and whether more follow. Raises BadRequest for an `after` that is not among the items."""
    start = 0
    if after is not None:
        start = next((index for index, item in enumerate(items, 1) if item.id == after), 0)
        if not start:
            raise BadRequest("there is nothing with this id to go on after: begin anew", param="after")
    return list(items[start : start + limit]), len(items) > start + limit
