"""Names that came in are data; those that go out are plain, and no two are alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.filenames import LONGEST_BYTES, NAMELESS, stem, stems


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.m4a", "a"),
        ("Dinner at Grandma's.mp3", "Dinner at Grandma's"),
        ("archive.2024.01.wav", "archive.2024.01"),
        ("/etc/passwd", "passwd"),
        ("../../a.wav", "a"),
        ("C:\\Users\\mum\\a.wav", "a"),
        ("folder/", "folder"),
        ("a\r\nSet-Cookie: b.wav", "aSet-Cookie_ b"),
        ("a\u2028b\u202egpj.wav", "abgpj"),
        ("\u001b[2Ja.wav", "[2Ja"),
        ("gru\u0308ße 日本.opus", "grüße 日本"),
        ('<a>:"b"|?*.wav', "_a___b____"),
        (".hidden.wav", "hidden"),
        (" . a . .wav", "a"),
        ("con.wav", "_con"),
        ("LPT1.x.wav", "_LPT1.x"),
        *((nothing, NAMELESS) for nothing in ("", ".", "..", "/", "\\", "\n", "...")),
    ],
)
def test_a_stem_is_one_plain_name(filename: str, expected: str) -> None:
    assert stem(filename) == expected


def test_a_long_name_is_cut_between_letters() -> None:
    assert stem("ü" * 300 + ".wav") == "ü" * (LONGEST_BYTES // 2)


def test_what_is_called_alike_gets_a_number() -> None:
    assert stems(["a.m4a", "A.wav", "x/a.mp3", "b.wav"]) == ["a", "A-2", "a-3", "b"]


def test_a_number_that_somebody_has_already_is_passed_over() -> None:
    assert stems(["a-2.wav", "a.wav", "a.mp3"]) == ["a-2", "a", "a-3"]


@given(st.lists(st.text(), max_size=20))
def test_whatever_comes_in_no_two_are_alike_and_none_is_a_path(filenames: list[str]) -> None:
    made = stems(filenames)
    assert len({name.casefold() for name in made}) == len(filenames)
    assert all(name and name not in (".", "..") and not set(name) & set('/\\\0\n\r<>:"|?*') for name in made)
