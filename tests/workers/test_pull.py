"""Downloads: which models, how often to try, what is said when it fails. The hub itself is not reached."""

import errno
from pathlib import Path

import httpx
import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from familyai.catalogue import Model, Profile, load_profile
from familyai.errors import ConfigurationError
from workers import pull

THOR = load_profile(Path(__file__).parents[2] / "queues.yaml", "thor")
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
    return pull.pull_all(models, said.append, batch=batch, fetch=hub, pauses_s=NO_PAUSE), said


def missing() -> RepositoryNotFoundError:
    return RepositoryNotFoundError(
        "no such model", response=httpx.Response(404, request=httpx.Request("GET", "http://h"))
    )


def test_without_names_everything_vllm_takes_from_a_hub() -> None:
    assert len(pull.choose(THOR, [])) == 6


@pytest.mark.parametrize("name", ["code-traditional", "qwen2.5-coder-32b", CODER, "qwen2.5-coder-32b-instruct-awq"])
def test_a_model_goes_by_queue_alias_or_id(name: str) -> None:
    assert [model.model for model in pull.choose(THOR, [name])] == [CODER]


def test_the_same_model_twice_is_pulled_once() -> None:
    assert len(pull.choose(THOR, ["code-traditional", CODER])) == 1


@pytest.mark.parametrize(("name", "words"), [("nosuch", "no model 'nosuch'"), ("asr", "not downloaded from a hub")])
def test_a_wrong_name_is_refused(name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        pull.choose(THOR, [name])


def test_a_model_from_a_wheel_is_not_pulled() -> None:
    embedded: Profile = load_profile(Path(__file__).parents[2] / "queues.yaml", "embedded")
    assert pull.choose(embedded, []) == []


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


@pytest.mark.parametrize("error", [missing(), OSError(errno.ENOSPC, "No space left on device")])
def test_does_not_try_again_what_cannot_work(error: Exception) -> None:
    hub = Hub(error)
    status, _ = run(hub, "vision")
    assert status == 1
    assert len(hub.asked) == 1


def test_batch_goes_on_with_the_rest() -> None:
    hub = Hub(missing())
    status, said = run(hub, batch=True)
    assert status == 1
    assert len(hub.asked) == 6
    assert said[-1].count("Qwen/") == 1


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
