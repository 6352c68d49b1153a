"""The catalogue: what ships is right, what is wrong is named, and the page that people edit explains every option."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from familyai.catalogue import (
    Engine,
    Limits,
    Model,
    Profile,
    ServedBy,
    Task,
    catalogue_schema,
    check_memory,
    load_catalogue,
    load_profile,
    peak_memory_gb,
)
from familyai.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "queues.yaml"
HEADER = SHIPPED.read_text(encoding="utf-8").split("\nprofiles:")[0]

THOR = {  # queue: (model, GB, slots, swap group), as planned for the machine
    "code-traditional": ("Qwen/Qwen2.5-Coder-32B-Instruct", 18, 5, "code"),
    "code-agentic": ("Qwen/Qwen3-Coder-30B-A3B-Instruct", 15, 8, "code"),
    "chat-reasoning": ("Qwen/Qwen3-32B", 18, 8, None),
    "chat-fast": ("Qwen/Qwen3-8B", 4, 12, None),
    "chat-lightweight": ("Qwen/Qwen3-4B", 2, 15, None),
    "vision": ("Qwen/Qwen2-VL-7B-Instruct", 4, 4, None),
    "asr": ("openai/whisper-small", 2, 10, None),
    "tts": ("rhasspy/piper", 0.5, 4, None),
}
CHAT = {"model": "org/chat", "engine": "echo", "memory_gb": 1, "slots": 4}


def profile(**fields: Any) -> dict[str, Any]:
    return {"memory_budget_gb": 4, "queues": {"chat": CHAT}} | fields


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Writes a catalogue with one profile, `home`; returns its path."""

    def _write(text: str | dict[str, Any]) -> Path:
        path = tmp_path / "queues.yaml"
        path.write_text(text if isinstance(text, str) else yaml.safe_dump({"profiles": {"home": text}}))
        return path

    return _write


# What ships


@pytest.mark.parametrize("name", ["embedded", "echo", "thor"])
def test_the_shipped_profile_loads(name: str) -> None:
    loaded = load_profile(SHIPPED, name)
    assert peak_memory_gb(loaded) <= loaded.memory_budget_gb


@pytest.mark.parametrize("name", ["embedded", "echo", "thor"])
def test_every_profile_serves_every_chat_and_code_queue_and_the_usual_aliases(name: str) -> None:
    loaded = load_profile(SHIPPED, name)
    for queue in [queue for queue in THOR if queue.startswith(("chat", "code"))]:
        assert Task.GENERATE in loaded.model(queue).tasks
    assert "auto" in loaded.routes
    assert {"gpt-4o", "gpt-4o-mini"} <= loaded.aliases.keys()


@pytest.mark.parametrize("queue", THOR)
def test_thor_has_the_model_that_was_planned(queue: str) -> None:
    model_id, memory_gb, slots, swap_group = THOR[queue]
    model = load_profile(SHIPPED, "thor").models[queue]
    assert model.model.startswith(model_id)
    assert (model.memory_gb, model.slots, model.swap_group) == (memory_gb, slots, swap_group)


def test_thor_has_no_other_models_and_peaks_where_planned() -> None:
    thor = load_profile(SHIPPED, "thor")
    assert thor.models.keys() == THOR.keys()
    assert peak_memory_gb(thor) == 48.5
    assert thor.resident.keys() == THOR.keys() - {"code-agentic"}


@pytest.mark.parametrize("name", ["embedded", "thor"])
def test_speech_goes_by_the_names_that_clients_hard_code(name: str) -> None:
    loaded = load_profile(SHIPPED, name)
    for alias in ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"):
        assert Task.TRANSCRIBE in loaded.model(loaded.aliases[alias]).tasks
    for alias in ("tts-1", "tts-1-hd", "gpt-4o-mini-tts"):
        assert Task.SPEAK in loaded.model(loaded.aliases[alias]).tasks


def test_thor_speaks_several_languages() -> None:
    voices = load_profile(SHIPPED, "thor").models["tts"].voices
    assert {"en_US", "en_GB", "de_DE", "fr_FR", "es_ES"} <= {voice.partition("-")[0] for voice in voices.values()}
    assert {"default", "alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer"} <= voices.keys()


def test_echo_needs_no_weights() -> None:
    assert {model.engine for model in load_profile(SHIPPED, "echo").models.values()} == {Engine.ECHO}


# What is wrong is named


@pytest.mark.parametrize(
    ("mistaken", "named"),
    [
        (profile(memory_budget="4"), ["profiles.home.memory_budget:", "unknown option"]),
        (profile(queues={"chat": CHAT | {"slotz": 4}}), ["profiles.home.queues.chat.slotz:", "unknown option"]),
        (profile(queues={"chat": {"model": "m", "slotz": 4}}), ["profiles.home.queues.chat.slotz:", "unknown option"]),
        (profile(queues={"chat": CHAT | {"slots": 0}}), ["profiles.home.queues.chat.slots:", "greater than 0"]),
        (profile(queues={"chat": CHAT | {"engine": "gpt"}}), ["profiles.home.queues.chat.engine:", "vllm"]),
        (profile(queues={"chat": CHAT | {"tasks": ["sing"]}}), ["profiles.home.queues.chat.tasks.0:", "generate"]),
        (profile(queues={"chat": CHAT | {"swap_group": ""}}), ["profiles.home.queues.chat.swap_group:"]),
        (profile(queues={"chat": {"engine": "echo"}}), ["profiles.home.queues.chat.model:", "required"]),
        (profile(queues={"chat": "echo"}), ["profiles.home.queues.chat:"]),
        (profile(queues={"chat fast": CHAT}), ["profiles.home.queues.chat fast"]),
        (profile(limits={"width": -1}), ["profiles.home.limits.width:"]),
        (profile(limits={"record_ttl_s": 60}), ["profiles.home.limits:", "record_ttl_s", "queue_wait_s"]),
        (profile(limits={"replay_s": 7200}), ["profiles.home.limits:", "record_ttl_s", "replay_s"]),
        (profile(aliases={"gpt-4o": "nowhere"}), ["profiles.home:", "'gpt-4o'", "'nowhere'"]),
        (profile(aliases={"chat": "chat"}), ["profiles.home:", "'chat'", "queue's name"]),
        (profile(aliases={"a": "b", "b": "chat"}), ["profiles.home:", "'a'", "'b'"]),
        (profile(queues={"chat": CHAT, "b": {"served_by": "nowhere"}}), ["profiles.home:", "'b'", "'nowhere'"]),
        (profile(queues={"chat": CHAT, "b": {"served_by": "b"}}), ["profiles.home:", "'b'"]),
        (
            profile(queues={"chat": CHAT, "b": {"served_by": "c"}, "c": {"served_by": "chat"}}),
            ["profiles.home:", "'b'", "'c'"],
        ),
        (
            profile(queues={"chat": CHAT, "b": {"served_by": "chat", "slots": 2}}),
            ["profiles.home.queues.b.slots:", "unknown option"],
        ),
        (profile(queues={"chat": CHAT | {"reserve_slots": -1}}), ["profiles.home.queues.chat.reserve_slots:"]),
        (profile(queues={"chat": CHAT | {"voices": {"nova": "x"}}}), ["profiles.home.queues.chat:", "voices", "speak"]),
        (profile(memory_budget_gb=0.5), ["'home'", "1 GB", "memory_budget_gb is 0.5"]),
    ],
)
def test_a_mistake_is_named_with_its_place(write: Any, mistaken: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_profile(write(mistaken), "home")
    for words in named:
        assert words in str(raised.value)


@pytest.mark.parametrize("text", ["profiles: [", "a: b: c", "\tprofiles:", "profiles: !!python/object:os.system {}"])
def test_a_file_that_is_no_yaml(write: Any, text: str) -> None:
    path = write(text)
    with pytest.raises(ConfigurationError, match=f"{path.name} is not YAML"):
        load_catalogue(path)


def test_a_key_that_stands_twice_is_named(tmp_path: Path) -> None:
    path = tmp_path / "queues.yaml"
    path.write_text("profiles:\n  home:\n    limits: {width: 8}\n    limits: {upload_mb: 1}\n")
    with pytest.raises(ConfigurationError, match="'limits' stands here twice") as refused:
        load_catalogue(path)
    assert "line 4" in str(refused.value)


@pytest.mark.parametrize("text", ["", "hello", "[]", "profiles:", "profile: {}"])
def test_a_file_that_is_no_catalogue(write: Any, text: str) -> None:
    path = write(text)
    with pytest.raises(ConfigurationError, match=path.name):
        load_catalogue(path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "queues.yaml"
    path.write_bytes(b"profiles: \xff\xfe")
    with pytest.raises(ConfigurationError, match=path.name):
        load_catalogue(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: No such file"):
        load_catalogue(tmp_path / "nowhere.yaml")


def test_a_profile_that_is_not_there_says_which_are() -> None:
    with pytest.raises(ConfigurationError, match="no profile 'moon'; it has: embedded, echo, thor"):
        load_profile(SHIPPED, "moon")


# Who serves what, and what is in memory


def loaded(**fields: Any) -> Profile:
    return Profile.model_validate(profile(**fields))


def test_a_name_without_a_model_leads_to_the_queue_that_serves_it() -> None:
    made = loaded(queues={"chat": CHAT, "light": {"served_by": "chat"}})
    assert (made.physical("light"), made.physical("chat")) == ("chat", "chat")
    assert made.model("light") is made.models["chat"]
    assert made.models.keys() == {"chat"}


@pytest.mark.parametrize(
    ("wheel_file", "converted"), [("a/b.gguf", True), ("a/b.onnx", False), ("a/folder", False), (None, False)]
)
def test_only_gguf_is_converted(wheel_file: str | None, converted: bool) -> None:
    made = loaded(queues={"chat": CHAT | {"wheel_file": wheel_file}})
    assert made.models["chat"].is_converted is converted


def test_of_a_swap_group_the_first_is_resident_and_the_largest_counts() -> None:
    group = CHAT | {"swap_group": "code"}
    made = loaded(queues={"small": group, "large": group | {"memory_gb": 3}, "other": CHAT})
    assert list(made.resident) == ["small", "other"]
    assert peak_memory_gb(made) == 4


@pytest.mark.parametrize(("contexts", "shortest"), [([4096, None, 1024], 1024), ([None, None], None)])
def test_what_every_model_can_read(contexts: list[int | None], shortest: int | None) -> None:
    queues = {f"chat-{number}": CHAT | {"context_tokens": tokens} for number, tokens in enumerate(contexts)}
    assert loaded(queues=queues).shortest_context_tokens == shortest


def test_parts_that_just_fill_the_budget_fit() -> None:
    parts = {"a": CHAT | {"memory_gb": 0.1}, "b": CHAT | {"memory_gb": 0.2}}
    check_memory("home", loaded(memory_budget_gb=0.3, queues=parts))


@given(st.lists(st.tuples(st.floats(0.1, 50), st.sampled_from([None, "code", "draw"])), min_size=1, max_size=8))
def test_what_is_resident_at_start_never_exceeds_the_peak(sizes: list[tuple[float, str | None]]) -> None:
    queues = {f"q{i}": CHAT | {"memory_gb": gb, "swap_group": group} for i, (gb, group) in enumerate(sizes)}
    made = loaded(queues=queues)
    assert sum(model.memory_gb for model in made.resident.values()) <= peak_memory_gb(made) + 1e-5


def test_nothing_is_kept_to_learn_from_unless_the_household_says_so() -> None:
    assert not loaded().learn
    assert loaded(learn=True).learn


# The schema, and the page that people edit


def test_the_schema_on_disk_is_the_one_of_the_code() -> None:
    on_disk = json.loads((ROOT / "docs" / "queues.schema.json").read_text(encoding="utf-8"))
    assert on_disk == catalogue_schema(), "run scripts/write-schema.py"


def test_the_shipped_catalogue_keeps_to_the_schema() -> None:
    validator = Draft202012Validator(catalogue_schema())
    validator.check_schema(catalogue_schema())
    assert [error.message for error in validator.iter_errors(yaml.safe_load(SHIPPED.read_text()))] == []


@pytest.mark.parametrize(
    "mistaken",
    [
        profile(memory_budget="4"),
        profile(queues={"chat": CHAT | {"slotz": 4}}),
        profile(queues={"chat": CHAT | {"served_by": "x"}}),
        profile(limits={"width": 0}),
    ],
)
def test_an_editor_sees_mistakes_too(mistaken: dict[str, Any]) -> None:
    assert not Draft202012Validator(catalogue_schema()).is_valid({"profiles": {"home": mistaken}})


def test_the_file_points_editors_to_the_schema() -> None:
    first_line = HEADER.splitlines()[0]
    assert (ROOT / first_line.split("$schema=")[1]).is_file()


OPTIONS = [(kind, name) for kind in (Model, ServedBy, Limits, Profile) for name in kind.model_fields]


@pytest.mark.parametrize(("kind", "name"), OPTIONS, ids=[f"{kind.__name__}.{name}" for kind, name in OPTIONS])
def test_the_page_explains_the_option(kind: type[BaseModel], name: str) -> None:
    assert re.search(rf"^# +(profiles\.NAME\.)?{name}\b", HEADER.replace("queues.NAME", "queues"), re.MULTILINE)
    assert kind.model_fields[name].description


@pytest.mark.parametrize("name", Limits.model_fields)
def test_the_page_tells_the_limit_s_default(name: str) -> None:
    default = Limits.model_fields[name].default
    shown = re.search(rf"^# +{name} .*\[(.+)\]$", HEADER, re.MULTILINE)
    assert shown
    assert yaml.safe_load(shown[1].strip("[]") or "null") == (default or None)


@pytest.mark.parametrize("name", [name for name, field in Model.model_fields.items() if not field.is_required()])
def test_the_page_shows_what_an_option_is_when_left_out(name: str) -> None:
    assert re.search(rf"^# +{name} .*\[.+\]$", HEADER, re.MULTILINE)


@pytest.mark.parametrize(("name", "choices"), [("engine", Engine), ("tasks", Task)])
def test_the_page_lists_every_choice(name: str, choices: type[Engine | Task]) -> None:
    line = re.search(rf"^# +{name} .*$", HEADER, re.MULTILINE)
    assert line
    assert " | ".join(choices) in line[0]
