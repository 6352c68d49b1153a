"""A log line is one event that a person reads and grep finds."""

import logging
import sys

import pytest

from familyai import logs


def record(words: str, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    return logging.getLogger("familyai.test").makeRecord(
        "familyai.test", level, __file__, 1, words, (), None, extra=extra or None
    )


def formatted(words: str, **extra: object) -> str:
    return logs.Formatter("worker chat-fast").format(record(words, **extra))


def test_the_action_stands_before_the_words_and_the_fields_after_them() -> None:
    made = record("a request waits", action="job.enqueued", job="job-1f", wait_s=0.25)
    made.created = 1795381200.9
    line = logs.Formatter("front").format(made)
    assert line == "2026-11-22T21:00:00Z INFO front job.enqueued a request waits job=job-1f wait_s=0.25"


def test_a_process_name_is_one_word() -> None:
    assert " worker:chat-fast " in formatted("ready")


def test_a_library_that_knows_no_actions_is_named_instead() -> None:
    assert " familyai.test ready" in formatted("ready")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two words", 'error="two words"'),
        ("a=b", 'error="a=b"'),
        ("line\nbreak", 'error="line\\nbreak"'),
        ("", 'error=""'),
        ("Grüße", "error=Grüße"),
        (None, "error=None"),
        (3, "error=3"),
    ],
)
def test_values_that_would_break_the_line_are_quoted(value: object, shown: str) -> None:
    assert formatted("failed", action="a.b", error=value).endswith(shown)


def test_words_never_start_a_line_of_their_own() -> None:
    assert "\n" not in formatted("first\nsecond\r\n2026-11-22T21:00:00Z INFO front forged.event")


def test_an_exception_follows_its_line() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        made = logging.getLogger("x").makeRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    assert logs.Formatter("front").format(made).endswith("builtins.ValueError")


def test_configure_leaves_one_handler_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    before, level = logging.root.handlers[:], logging.root.level
    try:
        logs.configure("front")
        logs.configure("front")
        logging.getLogger("familyai.test").info("ready", extra={"action": "front.ready"})
        logging.getLogger("httpx").info("GET http://secret")
        assert len(logging.root.handlers) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith("INFO front front.ready ready")
    finally:
        logging.root.handlers[:], logging.root.level = before, level
        logging.captureWarnings(False)


def test_an_exceptions_own_words_stay_out_of_the_log() -> None:
    """They quote what they were given: pydantic's contain the input."""
    diary = "my secret diary"
    try:
        try:
            raise KeyError(diary)
        except KeyError as error:
            raise ValueError(diary) from error
    except ValueError:
        made = record("engine raised", action="engine.raised")
        made.exc_info = sys.exc_info()
    text = logs.Formatter("worker").format(made)
    assert "builtins.ValueError" in text
    assert "builtins.KeyError" in text
    assert "raise ValueError(diary) from error" in text
    assert diary not in text
