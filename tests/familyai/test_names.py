"""What people may be called, and when two names are one."""

import re
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.names import LONGEST, NOBODY, composed, folded, is_valid, made_valid, namesakes, numbered


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Leo", "leo"),
        ("LEO", "leo"),
        ("ＬＥＯ", "leo"),
        ("Jürgen", "Ju\u0308rgen"),
        ("Straße", "STRASSE"),
        ("ﬁn", "FIN"),
    ],
)
def test_names_that_look_or_sound_the_same_are_one(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize("other", ["Leon", "Le o", "Léo", "Leo (2)"])
def test_other_names_are_others(other: str) -> None:
    assert folded(other) != folded("Leo")


@given(st.text())
def test_folding_twice_changes_nothing(name: str) -> None:
    assert folded(folded(name)) == folded(name)


@given(st.text())
def test_whatever_a_chat_ui_calls_somebody_becomes_a_name(text: str) -> None:
    assert is_valid(made_valid(text))


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 .'@_()-]{0,20}[a-z]", fullmatch=True))
def test_a_good_name_stays(name: str) -> None:
    assert made_valid(name) == " ".join(name.split())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Leo", "Leo"),
        ("  Leo\n\tSmith ", "Leo Smith"),
        ("<b>Leo</b>", "b Leo b"),
        ("Ju\u0308rgen", "Jürgen"),
        ("राम", "राम"),
        ("-- Leo", "Leo"),
        ("\u0301Leo", "Leo"),
        ("x" * 70, "x" * LONGEST),
        ("", NOBODY),
        ("🦁", NOBODY),
        ("\x1b[31m", "31m"),
    ],
)
def test_the_nearest_name(text: str, name: str) -> None:
    assert made_valid(text) == name


@pytest.mark.parametrize("name", ["Leo", "x" * LONGEST])
def test_numbers_tell_namesakes_apart(name: str) -> None:
    first, *others = islice(numbered(name), 120)
    assert first == name
    assert others[0].endswith("(2)")
    assert len({first, *others}) == 120
    assert all(is_valid(other) for other in others)


@pytest.mark.parametrize("name", ["Leo", "x" * LONGEST])
def test_from_the_eleventh_on_namesakes_differ_by_who_they_are(name: str) -> None:
    some, others = namesakes(name, "open-webui/u-1"), namesakes(name, "open-webui/u-2")
    assert some == namesakes(name, "open-webui/u-1")
    assert some[:10] == others[:10] == list(islice(numbered(name), 10))
    assert set(some) & set(others) == set(some[:10])
    assert re.fullmatch(r".+ \([0-9a-f]{6}\)", some[10])
    assert all(is_valid(one) for one in some)
    assert len(set(some)) == len(some) == 13


@pytest.mark.parametrize("name", ["Leo ", " Leo", "Leo\n", "Le\u200bo", "", "x" * 65, "(Leo)", "Le/o", "\u0301Leo"])
def test_what_is_no_name(name: str) -> None:
    assert not is_valid(name)


def test_accents_are_composed() -> None:
    assert composed("Ju\u0308rgen") == "Jürgen"
