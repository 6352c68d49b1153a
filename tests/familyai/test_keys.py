"""Every Redis key stands in one module, and on its page."""

import re
from pathlib import Path

import pytest

from familyai import keys

ROOT = Path(__file__).parents[2]
NAMED = [
    keys.MEMBERS,
    keys.API_KEYS,
    keys.job("{job}"),
    keys.waiting("{lane}"),
    keys.backlog("{queue}"),
    keys.active("{queue}"),
    keys.running("{queue}"),
    keys.service("{queue}"),
    keys.pace("{queue}"),
    keys.route("{member}", "{talk}"),
    keys.routed("{job}"),
    keys.routed_jobs("{member}"),
    keys.route_feedback("{job}"),
    keys.marked_jobs("{member}"),
    keys.in_flight("{member}"),
    keys.usage("{day}"),
    keys.LANE_COUNT,
    keys.REWRITTEN,
    keys.MEMBER_NAMES,
    keys.USERS,
    keys.LANE_OWNERS,
    keys.FRONTS,
    keys.workers("{queue}"),
    keys.reply("{front}"),
    keys.control("{worker}"),
    keys.unacked("{queue}")["unacked_key"],
]


@pytest.mark.parametrize("name", NAMED)
def test_the_page_lists_the_key(name: str) -> None:
    assert f"| `{name}` " in (keys.__doc__ or "")


def test_no_two_names_are_the_same() -> None:
    assert len(set(NAMED)) == len(NAMED)


def test_no_other_module_spells_a_key() -> None:
    sources = [path for package in ("familyai", "routing", "api", "workers") for path in (ROOT / package).rglob("*.py")]
    spelling = re.compile(r"""["']familyai:[a-z]""")
    assert [path.name for path in sources if spelling.search(path.read_text(encoding="utf-8"))] == ["keys.py"]
