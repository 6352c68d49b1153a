"""Pages of a list."""

from dataclasses import dataclass

import pytest

from api.paging import page
from familyai.errors import BadRequest


@dataclass
class Item:
    id: str


ITEMS = [Item(name) for name in "abcde"]


@pytest.mark.parametrize(
    ("after", "limit", "ids", "more"),
    [
        (None, 5, "abcde", False),
        (None, 4, "abcd", True),
        ("a", 2, "bc", True),
        ("c", 2, "de", False),
        ("e", 2, "", False),
    ],
)
def test_a_page(after: str | None, limit: int, ids: str, more: bool) -> None:
    items, has_more = page(ITEMS, after, limit)
    assert ("".join(item.id for item in items), has_more) == (ids, more)


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        page(ITEMS, "x", 2)
    assert refused.value.param == "after"
