import gc
from collections.abc import Iterator

import pytest

from familyai.heap import settle_heap


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Other tests keep an ordinary heap."""
    yield
    gc.unfreeze()


def test_what_is_there_is_no_longer_searched() -> None:
    before = gc.get_freeze_count()
    settle_heap()
    assert gc.get_freeze_count() > before + 1_000


def test_what_comes_later_is_still_collected() -> None:
    settle_heap()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1
