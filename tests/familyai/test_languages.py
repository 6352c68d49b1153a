import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES

from familyai.languages import NAMES, language_code


def test_every_language_of_whisper_is_known() -> None:
    assert set(NAMES) == set(_LANGUAGE_CODES)


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("English", "en"),
        (" german ", "de"),
        ("pt-BR", "pt"),
        ("zh_TW", "zh"),
        ("Haitian Creole", "ht"),
        ("Mandarin", "zh"),
        ("Cantonese", "yue"),
        ("nb-NO", "no"),
        ("jv", "jw"),
        ("klingon", None),
        ("", None),
        ("-", None),
    ],
)
def test_a_language_by_code_or_name(word: str, code: str | None) -> None:
    assert language_code(word) == code
