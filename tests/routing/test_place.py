"""Which queue serves a kind: the best, unless something stands against it, and then it is said what."""

from dataclasses import replace
from typing import Any

import pytest

from familyai.allowance import Allowance
from familyai.errors import BadRequest, Forbidden
from familyai.kinds import Kind
from routing.classify import Verdict, certain
from routing.place import EQUAL, HOP, Asked, Moment, Place, place
from tests.routing.household import ANYTHING, QUEUES, household

ALL = frozenset(QUEUES)


def verdict(kind: Kind, confidence: float = 0.9, second: Kind = Kind.CHAT_LIGHTWEIGHT) -> Verdict:
    scores = {kind: confidence, second: 1 - confidence}
    for other in (Kind.CODE_TRADITIONAL, Kind.CODE_AGENTIC, Kind.CHAT_FAST, Kind.CHAT_REASONING):
        scores.setdefault(other, 0.0)
    return Verdict(kind, confidence, (), "a reason", scores)


def placed(judged: Verdict | Kind, *, tokens: int = 10, allowed: Any = None, **moment: Any) -> Place:
    if isinstance(judged, Kind):
        judged = verdict(judged) if judged not in (Kind.VISION, Kind.SIDE_TASK) else certain(judged, "a reason")
    allowance = Allowance(models=allowed) if allowed else ANYTHING
    return place(Asked(judged, tokens, household(), allowance, Moment(**moment)))


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.SIDE_TASK])
@pytest.mark.parametrize("alive", [ALL, None, frozenset()])
def test_every_kind_has_its_queue(kind: Kind, alive: frozenset[str] | None) -> None:
    found = placed(kind, alive=alive)
    assert found.queue == kind
    assert not found.notes


def test_the_others_that_would_serve_are_told() -> None:
    assert placed(Kind.CODE_TRADITIONAL).fallbacks == ("code-agentic", "chat-fast")
    assert placed(Kind.VISION).fallbacks == ()


def test_without_a_worker_the_next_one_answers_and_it_is_said() -> None:
    found = placed(Kind.CODE_AGENTIC, alive=ALL - {"code-agentic"})
    assert found.queue == "code-traditional"
    assert found.notes == ("code-agentic has no worker, so code-traditional answers",)
    assert found.fallbacks == ("code-agentic",)


def test_what_cannot_begin_in_time_is_passed_over_too() -> None:
    found = placed(Kind.CHAT_FAST, alive=ALL, late=frozenset({"chat-fast"}))
    assert found.queue == "chat-reasoning"
    assert found.notes == ("chat-fast cannot begin in time, so chat-reasoning answers",)


def test_where_all_are_late_or_dead_the_best_is_waited_for() -> None:
    assert placed(Kind.CHAT_FAST, alive=ALL, late=ALL).queue == "chat-fast"
    assert placed(Kind.CHAT_FAST, alive=frozenset({"vision"})).queue == "chat-fast"


def test_a_side_task_takes_the_lightest_that_is_loaded() -> None:
    assert placed(Kind.SIDE_TASK, alive=ALL).queue == "chat-lightweight"
    assert placed(Kind.SIDE_TASK, alive=ALL - {"chat-lightweight"}).queue == "chat-fast"


def test_whoever_may_not_use_the_best_gets_the_next_and_hears_why() -> None:
    found = placed(Kind.CHAT_REASONING, allowed=("chat-fast", "chat-lightweight"))
    assert found.queue == "chat-fast"
    assert found.notes == ("chat-reasoning is not yours to use",)
    assert found.fallbacks == ()


def test_whoever_may_use_none_of_them_is_told_what_they_may() -> None:
    with pytest.raises(Forbidden) as raised:
        placed(Kind.VISION, allowed=("chat-fast",))
    assert raised.value.message == "You may not use 'vision'. You can use: chat-fast."


def test_a_long_prompt_goes_where_it_fits() -> None:
    profile = household(chat_reasoning={"context_tokens": 9000})
    found = place(Asked(verdict(Kind.CHAT_FAST), 2000, profile, ANYTHING))
    assert (found.queue, found.notes) == ("chat-reasoning", ("it is too long for chat-fast",))


def test_what_may_fit_nowhere_goes_to_the_model_that_reads_most() -> None:
    """The engine knows exactly, and refuses it in its own words."""
    profile = household(code_traditional={"context_tokens": 2000})
    found = place(Asked(verdict(Kind.CODE_AGENTIC), 5000, profile, ANYTHING))
    assert found == Place("code-traditional", ("it may be too long for every model of this household",))


def test_a_kind_that_nobody_serves_is_refused() -> None:
    profile = household().model_copy(update={"kinds": {Kind.VISION: ()}})
    with pytest.raises(BadRequest) as raised:
        place(Asked(certain(Kind.VISION, "an image"), 10, profile, ANYTHING))
    assert raised.value.code == "no_queue"


def test_where_nobody_sees_images_it_is_said() -> None:
    profile = household(vision={"sees_images": False})
    found = place(Asked(certain(Kind.VISION, "an image"), 10, profile, ANYTHING))
    assert found.notes == ("but no model of this household sees images",)


class TestAConversation:
    @pytest.mark.parametrize(
        ("kind", "last"),
        [
            (Kind.CHAT_LIGHTWEIGHT, "chat-fast"),
            (Kind.CHAT_FAST, "chat-reasoning"),
            (Kind.CODE_TRADITIONAL, "code-agentic"),
        ],
    )
    def test_stays_with_a_model_that_is_as_strong(self, kind: Kind, last: str) -> None:
        found = placed(kind, alive=ALL, last=last)
        assert found.queue == last
        assert found.notes == (f"the conversation stays with {last}",)

    @pytest.mark.parametrize(
        ("kind", "last"),
        [
            (Kind.CHAT_REASONING, "chat-fast"),
            (Kind.CODE_AGENTIC, "code-traditional"),
            (Kind.CODE_TRADITIONAL, "chat-reasoning"),
            (Kind.CHAT_FAST, "code-traditional"),
        ],
    )
    def test_changes_where_it_needs_to(self, kind: Kind, last: str) -> None:
        assert placed(kind, alive=ALL, last=last).queue == kind

    @pytest.mark.parametrize("last", ["chat-fast", "code-traditional"])
    def test_stays_while_the_router_is_not_sure(self, last: str) -> None:
        assert placed(verdict(Kind.CHAT_REASONING, HOP - 0.01), alive=ALL, last=last).queue == last

    def test_changes_for_what_is_certain(self) -> None:
        wished = certain(Kind.CHAT_LIGHTWEIGHT, "speed is preferred")
        assert placed(wished, alive=ALL, last="chat-reasoning").queue == "chat-lightweight"
        assert placed(Kind.VISION, alive=ALL, last="chat-reasoning").queue == "vision"

    @pytest.mark.parametrize(
        "moment", [{"alive": ALL - {"chat-fast"}}, {"alive": ALL, "late": frozenset({"chat-fast"})}]
    )
    def test_does_not_wait_for_a_model_that_cannot_answer(self, moment: dict[str, Any]) -> None:
        assert placed(Kind.CHAT_LIGHTWEIGHT, last="chat-fast", **moment).queue == "chat-lightweight"

    def test_does_not_stay_where_it_may_not(self) -> None:
        assert (
            placed(Kind.CHAT_LIGHTWEIGHT, last="chat-fast", allowed=("chat-lightweight",)).queue == "chat-lightweight"
        )

    @pytest.mark.parametrize("last", ["gone", "vision", "ears"])
    def test_forgets_what_is_no_answer_to_this(self, last: str) -> None:
        assert placed(Kind.CHAT_FAST, alive=ALL, last=last).queue == "chat-fast"


class TestEqualKinds:
    close = verdict(Kind.CHAT_FAST, 0.5 + EQUAL / 2 - 0.01)

    def test_what_is_loaded_wins(self) -> None:
        found = placed(self.close, alive=ALL - {"chat-fast"})
        assert found.queue == "chat-lightweight"
        assert found.notes == ("chat-fast has no worker, and chat-lightweight is about as likely",)

    def test_the_better_wins_when_both_are(self) -> None:
        assert placed(self.close, alive=ALL).queue == "chat-fast"

    def test_one_that_is_clearly_less_likely_does_not(self) -> None:
        clear = replace(self.close, scores={Kind.CHAT_FAST: 0.7, Kind.CHAT_LIGHTWEIGHT: 0.3})
        assert placed(clear, alive=ALL - {"chat-fast"}).queue == "chat-reasoning"
