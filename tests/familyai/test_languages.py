import pytest

from familyai.languages import NAMES, language_code


def test_every_language_of_whisper_is_known() -> None:
    codes = pytest.importorskip("faster_whisper.tokenizer")._LANGUAGE_CODES
    assert set(NAMES) == set(codes)


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
