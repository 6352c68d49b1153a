"""What the examination of the router makes of its decisions, and of what the other routers choose."""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from familyai.catalogue import Prefer, load_profile
from familyai.kinds import CHAT, Kind
from routing.examples import Example, read_examples
from scripts.routing_eval import exam, litellm_router, speed
from scripts.routing_eval.keywords import keyword_kind
from scripts.routing_eval.litellm_router import CannotRun, best_mapping
from scripts.routing_eval.report import BOTH, KEYWORDS, OURS, Results, as_json, show, show_errors, show_targets

ROOT = Path(__file__).parents[2]
# The command on every twentieth of the labelled requests: all of them take most of a minute.
ON_SOME = """
import runpy
from routing import examples
everything = examples.read_examples()
examples.read_examples = lambda: everything[::20]
runpy.run_path("scripts/eval_routing.py", run_name="__main__")
"""
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def said(*texts: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text} for text in texts]}


def example(*kinds: str, name: str = "x-1", text: str = "hello", language: str = "en", **more: Any) -> Example:
    return Example(name, language, tuple(Kind(kind) for kind in kinds), said(text), **more)


def graded(
    chosen: str, *kinds: str, part: str = exam.HELD_OUT, sure: float = 0.8, tokens: int = 9, **more: Any
) -> exam.Graded:
    return exam.Graded(example(*kinds, **more), part, chosen, sure, tokens)


def test_every_label_of_an_example_is_right() -> None:
    marks = [graded(kind, "chat-fast", "chat-lightweight") for kind in ("chat-fast", "chat-lightweight", "vision")]
    assert [one.is_right for one in marks] == [True, True, False]
    assert exam.share(marks) == exam.Share(2, 3)


def test_of_nothing_there_is_no_share_and_no_target_reached() -> None:
    assert math.isnan(exam.Share(0, 0).value)
    assert exam.Target("nothing", exam.Share(0, 0), 0.0).is_missed


def test_an_example_counts_for_its_best_label_each_trap_and_its_language() -> None:
    marks = [
        graded("chat-fast", "chat-fast", "chat-reasoning", traps=("short", "numbers")),
        graded("chat-fast", "code-agentic", language="de", traps=("short",)),
    ]
    assert exam.by_kind(marks) == {"code-agentic": exam.Share(0, 1), "chat-fast": exam.Share(1, 1)}
    assert exam.by_trap(marks) == {"short": exam.Share(1, 2), "numbers": exam.Share(1, 1)}
    assert exam.by_language(marks) == {"en": exam.Share(1, 1), "de": exam.Share(0, 1)}


def test_long_code_is_a_class_of_its_own_and_long_chat_is_not() -> None:
    marks = [graded(chosen, chosen, tokens=8_001) for chosen in ("code-agentic", "chat-fast")]
    short = graded("code-traditional", "code-traditional", tokens=8_000)
    assert exam.by_class([*marks, short])["code over 8,000 tokens"] == exam.Share(1, 1)


def test_each_decision_is_in_one_bin_of_confidence() -> None:
    confidences = (0.0, 0.49, 0.5, 0.7, 0.9, 1.0)
    marks = [graded("chat-fast", "chat-fast", sure=sure) for sure in confidences]
    found = exam.calibration([*marks, graded("vision", "vision", sure=1.0)])
    assert [one.share.count for one in found] == [2, 1, 1, 2]
    assert found[3].confidence == pytest.approx(0.95)


def test_targets_are_set_for_what_has_enough_requests() -> None:
    many = [graded("chat-fast", "chat-fast")] * 9 + [graded("chat-lightweight", "chat-fast")]
    few = [graded("chat-fast", "chat-reasoning", language="de")]
    words = {target.words: target.is_missed for target in exam.targets([*many, *few], [*many, *few])}
    assert words["chat-fast"] is False  # nine of ten
    assert words["all that was examined"] is True
    assert "chat-reasoning" not in words
    assert "de" not in words
    assert words["images, all there are"] is True  # none was looked at


def test_a_miss_among_images_counts_in_the_training_part_too() -> None:
    training = graded("chat-fast", "vision", part=exam.TRAINING)
    seen = graded("vision", "vision")
    missed = {target.words for target in exam.targets([seen], [seen, training]) if target.is_missed}
    assert "images, all there are" in missed
    assert "all that was examined" not in missed


def test_the_parts_never_mix() -> None:
    examples = read_examples()
    assert {exam.part_of(one) for one in examples} == {exam.TRAINING, *exam.EXAMINED}
    assert all(one.held_out == (exam.part_of(one) != exam.TRAINING) for one in examples)
    assert all((one.source == "blind") == (exam.part_of(one) == "blind") for one in examples)


def test_the_router_is_asked_what_the_example_asks() -> None:
    profile = load_profile(ROOT / "queues.yaml", "thor")
    image = Example("x", "en", (Kind.VISION,), {"messages": [{"role": "user", "content": [IMAGE]}]})
    assert exam.grade(image, exam.HELD_OUT, profile).is_right
    blind = profile.model_copy(update={"kinds": {**profile.kinds, Kind.VISION: ()}})
    refused = exam.grade(image, exam.HELD_OUT, blind)
    assert (refused.chosen, refused.is_right) == (exam.REFUSED, False)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write a Python function that reverses a list", "code-traditional"),
        ("这个函数报错了，怎么改？", "code-traditional"),
        ("```\nx = 1\n```\nwhy?", "code-traditional"),
        ("Rename it in the whole project and run the tests", "code-agentic"),
        ("Capital de Francia", "chat-lightweight"),
        ("Why is the sky blue?", "chat-fast"),
        ("Schreib mir ein Gedicht über den Herbst", "chat-reasoning"),
        ("Prouve qu'il y a une infinité de nombres premiers", "chat-reasoning"),
    ],
)
def test_the_keyword_baseline_knows_the_obvious(text: str, kind: str) -> None:
    assert keyword_kind(said(text)) == kind


def test_the_keyword_baseline_has_our_checks_and_obeys_wishes() -> None:
    assert keyword_kind({"messages": [{"role": "user", "content": [IMAGE]}]}) is Kind.VISION
    title = "### Task:\nGenerate a title.\n<chat_history>\nUSER: hi\n</chat_history>"
    assert keyword_kind(said(title)) is Kind.SIDE_TASK
    assert keyword_kind(said("What is pi?"), Prefer.QUALITY) is Kind.CHAT_REASONING
    assert keyword_kind(said("def f(): pass\n" * 4_000)) is Kind.CODE_AGENTIC


def test_each_tier_gets_the_kind_that_is_right_most_often() -> None:
    fast, light, either = example("chat-fast"), example("chat-lightweight"), example("chat-lightweight", "chat-fast")
    choices = [("SIMPLE", fast), ("SIMPLE", fast), ("SIMPLE", light), ("SIMPLE", either), ("COMPLEX", light)]
    assert best_mapping(choices, CHAT) == {"SIMPLE": Kind.CHAT_FAST, "COMPLEX": Kind.CHAT_LIGHTWEIGHT}


def test_litellm_reads_every_endpoint_as_a_chat() -> None:
    assert litellm_router.messages(said("hi")) == said("hi")["messages"]
    assert litellm_router.messages({"input": "hi", "instructions": "be kind"}) == said("hi")["messages"]
    assert litellm_router.messages({"prompt": ["hi"]}) == said("hi")["messages"]


Python = Callable[[str], Path]


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """A stand-in for one with LiteLLM: a shell script."""

    def make(script: str) -> Path:
        path = tmp_path / "bin" / "python"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def test_every_request_has_a_tier(python: Python) -> None:
    stand_in = python('while read -r line; do echo "$2"; done')
    assert litellm_router.tiers(stand_in, [example("chat-fast")] * 3, "heuristic") == ["heuristic"] * 3


@pytest.mark.parametrize(("script", "words"), [("cat >/dev/null", "0 of 1"), ("echo broken >&2; exit 3", "broken")])
def test_an_answer_of_litellm_that_is_none(python: Python, script: str, words: str) -> None:
    with pytest.raises(CannotRun, match=words):
        litellm_router.tiers(python(script), [example("chat-fast")], "heuristic")


def test_litellm_gets_no_keys(python: Python, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    stand_in = python('cat >/dev/null; echo "${OPENAI_API_KEY:-none}"')
    assert litellm_router.tiers(stand_in, [example("chat-fast")], "heuristic") == ["none"]


class Installation:
    """pip, as far as it can install one version only."""

    def __init__(self, folder: Path, works: str | None) -> None:
        self.folder, self.works, self.tried = folder, works, list[str]()

    def create(self, folder: Path, **_: object) -> None:
        folder.mkdir(exist_ok=True)

    def pip(self, _python: Path, version: str, _log: object) -> int:
        self.tried.append(version)
        return int(version != self.works)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
        monkeypatch.setattr("scripts.routing_eval.litellm_router.venv.create", self.create)
        monkeypatch.setattr("scripts.routing_eval.litellm_router._pip", self.pip)
        return litellm_router.install(self.folder, lambda _: None)


def test_an_older_litellm_is_taken_where_the_newest_does_not_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = Installation(tmp_path, works=litellm_router.VERSIONS[-1])
    found = (tmp_path / "bin" / "python", litellm_router.VERSIONS[-1])
    assert pip.install(monkeypatch) == found
    assert pip.install(monkeypatch) == found
    assert pip.tried == list(litellm_router.VERSIONS)  # once


def test_litellm_that_does_not_install_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Installation(tmp_path, works=None)
    for _ in range(2):
        with pytest.raises(CannotRun, match=r"pip\.log"):
            pip.install(monkeypatch)
    assert len(pip.tried) == 2 * len(litellm_router.VERSIONS)


@pytest.mark.parametrize(("percent", "value"), [(50, 2), (99, 4), (100, 4), (1, 1)])
def test_percentiles_are_values_that_were_seen(percent: float, value: float) -> None:
    assert speed.percentile([4, 1, 3, 2], percent) == value


def test_the_long_requests_are_200_kb_of_code_and_no_two_alike() -> None:
    asked = [str(body["messages"][0]["content"]) for body, _ in speed.long_requests()]
    assert len(set(asked)) == len(asked)
    assert all(speed.LONG_CHARACTERS < len(text) < speed.LONG_CHARACTERS + 200 for text in asked)


def results(marks: Sequence[exam.Graded], keywords: Sequence[str]) -> Results:
    return Results(list(marks), exam.EXAMINED, {KEYWORDS: (list(keywords), list(keywords))})


def printed(write: Callable[[Console], object]) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        write(console)
    return captured.get()


MARKS = [
    graded("chat-fast", "chat-fast", name="x-1"),
    graded("code-agentic", "chat-fast", name="x-2", part="blind", text="all\nof it", sure=0.61),
    graded("chat-fast", "code-agentic", name="x-3", part=exam.TRAINING),
    graded("chat-fast", "chat-lightweight", name="x-4", part=exam.HOUSEHOLD),
]


def test_accuracy_is_told_by_router_and_part() -> None:
    found = as_json(results(MARKS, ["vision", "chat-fast", "vision", "chat-lightweight"]))["accuracy"]
    assert {part: one["accuracy"] for part, one in found[OURS].items()} == {
        "held-out": 1,
        "blind": 0,
        "household": 0,
        BOTH: 0.5,
        "chat ladder": 0.5,
    }
    assert [found[KEYWORDS][part]["right"] for part in ("held-out", "blind", "household", BOTH)] == [0, 1, 1, 1]


def test_the_report_says_what_was_taken_for_what() -> None:
    text = printed(lambda console: show(results(MARKS, ["chat-fast"] * 4), console))
    row = next(line for line in text.split("Confusion")[1].splitlines() if line.strip().startswith("chat-fast"))
    assert row.split() == ["chat-fast", "·", "1", "(1)", "·", "1", "·", "·", "·"]
    assert "Never to be missed" in text
    assert "Latency" not in text  # was not measured


def test_errors_are_listed_of_what_is_examined() -> None:
    text = printed(lambda console: show_errors(results(MARKS, ["chat-fast"] * 4), console))
    assert "x-2" in text
    assert "0.61" in text
    assert "all of it" in text
    assert not any(name in text for name in ("x-1", "x-3", "x-4"))


def test_missed_targets_are_named() -> None:
    text = printed(lambda console: show_targets(results(MARKS, ["chat-fast"] * 4), console))
    assert "missed: all that was examined: 50.0% of 2, 95% is due" in text


def test_the_command_examines_a_households_own_corrections(tmp_path: Path) -> None:
    line = {"id": "home-1", "language": "unknown", "kinds": ["vision"], "request": said("hello"), "path": "/v1/x"}
    image = {"id": "home-2", "language": "en", "kinds": ["vision"], "request": {"messages": [{"content": [IMAGE]}]}}
    file = tmp_path / "home.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, (line, image))))
    command = [sys.executable, "-c", ON_SOME, "--quick", "--json", "--check", "--part", "household"]
    run = subprocess.run(
        [*command, "--household", str(file)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"},
        capture_output=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 1, run.stderr.decode()
    found = orjson.loads(run.stdout)
    assert found["accuracy"][OURS]["household"] == {"requests": 2, "right": 1, "accuracy": 0.5}
    assert [one["id"] for one in found["wrong"]] == ["home-1"]
    assert "all that was examined" in found["missed_targets"]
