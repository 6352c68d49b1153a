"""What a text looks like."""

import pytest

from routing.shape import shape


def seen(text: str) -> set[str]:
    return {name for name, count in shape(text).items() if count}


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("Look:\n```python\nx = 1\n```", "a code block"),
        ("def f(x):\n    return x + 1\nprint(f(2))", "mostly code"),
        ("SELECT name FROM birds WHERE id = 3;", "lines of code"),
        ("<div>\n<p>hi</p>\n</div>", "mostly code"),
        ("Traceback (most recent call last):\n  ...\nKeyError: 'x'", "an error or a stack trace"),
        ("npm ERR! missing script: start", "an error or a stack trace"),
        ("see src/app/main.py and tests/test_app.py", "several files"),
        ("my package.json is broken", "names of files"),
        ("rename user_name to userName", "identifiers"),
        ("what does `ls -la` do", "quoted code"),
        ("how do I print in Rust", "a tool by its name"),
        ("solve x^2 = 4", "formulas"),
        ("what is 17 * 23", "sums"),
        ("we are 14 people", "numbers"),
        ("read https://example.org/a", "an address"),
        ("why?", "a question"),
        ("为什么？", "a question"),
    ],
)
def test_signs(text: str, sign: str) -> None:
    assert sign in seen(text)


@pytest.mark.parametrize(
    "text",
    [
        "My mother makes the best soup, and I never learned how.",
        "Meet me at 5, or at 6; bring bread.",
        "Rust on the gate, again. Go and look.",
        "either/or and his/her are words",
    ],
)
def test_plain_speech_looks_like_none_of_it(text: str) -> None:
    signs = {"a code block", "mostly code", "lines of code", "identifiers", "names of files", "a tool by its name"}
    assert not seen(text) & signs
