"""How good the router is on what it was never trained on, so that it gets no worse. `make eval-routing` tells more."""

from collections import Counter
from importlib.resources import files

import orjson
import pytest

from familyai.catalogue import Prefer, Route
from familyai.kinds import CHAT, CODE, Kind
from routing.classify import LONGEST_CODE_TOKENS, Verdict
from routing.decide import judge
from routing.estimate import text_tokens
from routing.examples import BLIND, Example, fingerprint, read_examples

LEAST, LEAST_BLIND, LEAST_OF_EACH = 0.95, 0.91, 0.9
"""A little under what was counted: another machine may round another way where two kinds are as likely."""
EXAMPLES = read_examples()


def judged(example: Example) -> Verdict:
    prefer = Prefer(example.prefer) if example.prefer else None
    return judge(example.body, text_tokens(example.body), Route(), prefer)


@pytest.fixture(scope="module")
def verdicts() -> list[tuple[Example, Verdict]]:
    return [(example, judged(example)) for example in EXAMPLES if example.held_out]


def share(verdicts: list[tuple[Example, Verdict]]) -> float:
    return sum(verdict.kind in example.kinds for example, verdict in verdicts) / len(verdicts)


def test_the_weights_were_made_from_what_is_here() -> None:
    """Else: make train-routing."""
    weights = orjson.loads(files("routing").joinpath("data/weights.json").read_bytes())
    assert weights["made_from"] == fingerprint()


def test_ids_and_texts_stand_once_and_every_kind_and_language_is_held_out() -> None:
    assert len({example.id for example in EXAMPLES}) == len(EXAMPLES)
    texts = Counter(orjson.dumps(example.body) for example in EXAMPLES)
    assert [text for text, count in texts.items() if count > 1] == []
    held = [example for example in EXAMPLES if example.held_out]
    assert {example.kinds[0] for example in held} == set(Kind)
    assert {example.language for example in held} == {"en", "zh", "es", "de", "fr"}
    assert 0.05 < len(held) / len(EXAMPLES) < 0.3


def test_what_is_held_out_is_told_apart(verdicts: list[tuple[Example, Verdict]]) -> None:
    assert share([pair for pair in verdicts if pair[0].source != BLIND]) >= LEAST
    assert share([pair for pair in verdicts if pair[0].source == BLIND]) >= LEAST_BLIND


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is(verdicts: list[tuple[Example, Verdict]], kind: Kind) -> None:
    assert share([pair for pair in verdicts if pair[0].kinds[0] is kind]) >= LEAST_OF_EACH


@pytest.mark.parametrize("language", ["en", "zh", "es", "de", "fr"])
def test_in_every_language(verdicts: list[tuple[Example, Verdict]], language: str) -> None:
    assert share([pair for pair in verdicts if pair[0].language == language]) >= LEAST_OF_EACH


def test_images_side_tasks_and_long_code_are_never_missed(verdicts: list[tuple[Example, Verdict]]) -> None:
    for kind in (Kind.VISION, Kind.SIDE_TASK):
        assert share([pair for pair in verdicts if pair[0].kinds[0] is kind]) == 1
    long = [pair for pair in verdicts if pair[0].kinds[0] in CODE and text_tokens(pair[0].body) > LONGEST_CODE_TOKENS]
    assert long
    assert share(long) == 1


def test_who_is_sure_is_right(verdicts: list[tuple[Example, Verdict]]) -> None:
    """The confidence is one: of what it is over 90 % sure of, over 90 % are right."""
    sure = [pair for pair in verdicts if pair[1].kind in (*CODE, *CHAT) and pair[1].confidence > 0.9]
    assert len(sure) > len(verdicts) / 2
    assert share(sure) > 0.9
