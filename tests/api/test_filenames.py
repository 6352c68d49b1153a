"""File names are data: none becomes a path, a header of its own, or nothing at all."""

import pytest

from api.filenames import attachment, harmless


@pytest.mark.parametrize(
    ("filename", "shown"),
    [
        ("a.mp3", "a.mp3"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\Users\\x.wav", "C__Users_x.wav"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie_ x"),
        ("\u202egnp.exe", "gnp.exe"),
        (".hidden", "hidden"),
        ("naïve 東京.srt", "naïve 東京.srt"),
        ("x" * 300, "x" * 200),
        ("", "file"),
        ("...", "file"),
        ("\x00", "file"),
    ],
)
def test_harmless(filename: str, shown: str) -> None:
    assert harmless(filename) == shown


def test_a_header_that_every_client_reads() -> None:
    assert attachment('a"b é.txt') == "attachment; filename=\"a_b _.txt\"; filename*=UTF-8''a%22b%20%C3%A9.txt"
    assert attachment('"\r\nX: y').isascii()
