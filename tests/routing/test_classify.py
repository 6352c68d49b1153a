"""What is certain goes before what the model makes of words; what is wished goes before it in chats, and only there."""

from typing import Any

import pytest

from familyai.catalogue import Prefer
from familyai.kinds import CHAT, CODE, Kind
from routing.classify import LONGEST_CODE_TOKENS, MOST_SIGNALS, Verdict, classify
from routing.conversation import read
from routing.wished import wished

CODE_REQUEST = "Fix this Python function:\n```python\ndef f(x):\n    return x / 0\n```\nZeroDivisionError"
STORY = "Write a bedtime story about a dragon who is afraid of fire, with rhymes, about two pages"
TALK = "What should I cook for my family tonight? Give me some ideas with chicken and rice, not too spicy please"
QUICK = "capital of Peru"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def judged(text: str, *, tokens: int = 50, prefer: Prefer | None = None, **body: Any) -> Verdict:
    body = {"messages": [{"role": "user", "content": text}], **body}
    return classify(read(body), tokens, wish=wished(body, prefer))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (CODE_REQUEST, Kind.CODE_TRADITIONAL),
        (STORY, Kind.CHAT_REASONING),
        (TALK, Kind.CHAT_FAST),
        (QUICK, Kind.CHAT_LIGHTWEIGHT),
    ],
)
def test_what_hardly_anybody_would_doubt(text: str, kind: Kind) -> None:
    verdict = judged(text)
    assert verdict.kind is kind
    assert verdict.confidence > 0.5
    assert 0 < len(verdict.signals) <= MOST_SIGNALS


def test_an_image_goes_before_everything() -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": CODE_REQUEST}, IMAGE]}]}
    verdict = classify(read(body), 10**6, is_side_task=True)
    assert (verdict.kind, verdict.confidence) == (Kind.VISION, 1)


def test_a_side_task_is_one_whatever_it_is_about() -> None:
    verdict = classify(read({"messages": [{"role": "user", "content": CODE_REQUEST}]}), 50, is_side_task=True)
    assert (verdict.kind, verdict.confidence) == (Kind.SIDE_TASK, 1)


@pytest.mark.parametrize(
    ("tokens", "kind"),
    [(LONGEST_CODE_TOKENS, Kind.CODE_TRADITIONAL), (LONGEST_CODE_TOKENS + 1, Kind.CODE_AGENTIC)],
)
def test_long_code_is_for_the_agentic_model(tokens: int, kind: Kind) -> None:
    assert judged(CODE_REQUEST, tokens=tokens).kind is kind


def test_long_code_is_code_though_little_of_it_is_read_and_the_question_is_small() -> None:
    lines = "".join(f"  REG_WRITE(BASE + {n}, (cfg[{n}].mode << 4) | cfg[{n}].gain); /* {n} */\n" for n in range(500))
    verdict = judged(f"In one sentence: what does it set up?\n\n```c\n{lines}```", tokens=LONGEST_CODE_TOKENS + 1)

    assert verdict.kind is Kind.CODE_AGENTIC
    assert "tokens of code" in verdict.reason


def test_a_long_story_is_no_code() -> None:
    assert judged(STORY, tokens=LONGEST_CODE_TOKENS + 1).kind is Kind.CHAT_REASONING


def test_a_gap_in_code_is_filled_by_the_completing_model() -> None:
    verdict = classify(read({"prompt": "def add(a, b):\n    return ", "suffix": "\n\nprint(add(1, 2))"}), 20)
    assert verdict.kind is Kind.CODE_TRADITIONAL


@pytest.mark.parametrize(
    ("text", "prefer", "kind"),
    [
        (QUICK, Prefer.QUALITY, Kind.CHAT_REASONING),
        (TALK, Prefer.QUALITY, Kind.CHAT_REASONING),
        (TALK, Prefer.SPEED, Kind.CHAT_LIGHTWEIGHT),
        (STORY, Prefer.SPEED, Kind.CHAT_FAST),
        (QUICK, Prefer.SPEED, Kind.CHAT_LIGHTWEIGHT),
    ],
)
def test_a_preference_moves_a_chat(text: str, prefer: Prefer, kind: Kind) -> None:
    assert judged(text, prefer=prefer).kind is kind


@pytest.mark.parametrize("prefer", Prefer)
def test_a_preference_does_not_make_code_a_chat(prefer: Prefer) -> None:
    assert judged(CODE_REQUEST, prefer=prefer).kind in CODE


def test_little_effort_spares_the_strongest_model_only() -> None:
    assert judged(STORY, reasoning_effort="low").kind is Kind.CHAT_FAST
    assert judged(TALK, reasoning_effort="low").kind is Kind.CHAT_FAST
    assert judged(STORY, reasoning_effort="low").reason == "reasoning effort is low"


def test_think_step_by_step_is_a_wish() -> None:
    verdict = judged("Think step by step: " + TALK)
    assert (verdict.kind, verdict.reason) == (Kind.CHAT_REASONING, "wishes for thought")


@pytest.mark.parametrize("kinds", [CODE, CHAT, (Kind.CHAT_FAST,)])
@pytest.mark.parametrize("text", [CODE_REQUEST, STORY, TALK, QUICK])
def test_a_route_tells_its_own_kinds_apart_only(kinds: tuple[Kind, ...], text: str) -> None:
    for tokens in (50, LONGEST_CODE_TOKENS + 1):
        conversation = read({"messages": [{"role": "user", "content": text}]})
        verdict = classify(conversation, tokens, wish=wished({"reasoning_effort": "high"}, None), kinds=kinds)
        assert verdict.kind in kinds


def test_a_reason_repeats_no_word_of_the_request() -> None:
    verdict = judged("Zanzibar xylophone quagmire, why?")
    assert not {"zanzibar", "xylophone", "quagmire"} & set(verdict.reason.lower().replace(",", "").split())


def test_a_follow_up_stays_with_what_it_follows_up() -> None:
    answer = "```python\ndef f(x):\n    return 0\n```"
    said = [("user", CODE_REQUEST), ("assistant", answer), ("user", "and now with types")]
    messages = [{"role": role, "content": text} for role, text in said]
    assert classify(read({"messages": messages}), 100).kind is Kind.CODE_TRADITIONAL


def test_each_turn_is_judged_in_the_light_of_those_before() -> None:
    def kind(*texts: str) -> Kind:
        roles = ("user", "assistant")
        messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
        return classify(read({"messages": messages}), 100).kind

    assert kind(STORY, "Once upon a time …", "and now a bit shorter") is Kind.CHAT_REASONING
    assert (
        kind(CODE_REQUEST, "```python\n…\n```", "thanks!", "You are welcome.", "and now in Rust")
        is Kind.CODE_TRADITIONAL
    )
    assert kind(QUICK, "Lima.", "and of Chile?") is Kind.CHAT_LIGHTWEIGHT


def test_a_signal_is_told_once_wherever_it_stood() -> None:
    names = [
        signal.name for signal in judged("Write me a poem on rain. Something sad. Rhymes would be lovely!").signals
    ]
    assert len(set(names)) == len(names)
    assert not any(name.startswith(("mostly ", "at first: ", "at last: ")) for name in names)
