"""A model is converted once, whole or not at all, and anew when its source or the converter changes."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from familyai.catalogue import Engine, Model, load_profile
from familyai.errors import ConfigurationError
from workers import convert, prepare

QUEUES = Path(__file__).parents[2] / "queues.yaml"


def model_of(wheel_file: str | None) -> Model:
    return Model(model="org/tiny-model", engine=Engine.VLLM, memory_gb=1, slots=1, wheel_file=wheel_file)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file in an importable package that would raise if anybody imported it."""
    package = tmp_path / "site" / "fake_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "tiny.gguf").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(package.parent))
    return package / "tiny.gguf"


class FakeConverter:
    """Stands in for the child process; copies the source."""

    def __init__(self) -> None:
        self.runs = 0
        self.fails = False

    def __call__(self, source: Path, part: Path, lock: int) -> None:
        self.runs += 1
        part.mkdir()
        (part / "model.safetensors").write_bytes(source.read_bytes())
        if self.fails:
            raise subprocess.CalledProcessError(1, "convert")


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch) -> FakeConverter:
    fake = FakeConverter()
    monkeypatch.setattr(prepare, "_run_converter", fake)
    return fake


MODEL = model_of("fake_weights/tiny.gguf")


def run(home: Path, model: Model = MODEL) -> list[str]:
    said: list[str] = []
    prepare.prepare(model, home, said.append)
    return said


def weights(home: Path) -> bytes:
    return (Path(prepare.model_path(MODEL, home)) / "model.safetensors").read_bytes()


def test_path_is_the_folder_of_a_converted_model_and_the_id_of_any_other(tmp_path: Path) -> None:
    assert prepare.model_path(MODEL, tmp_path) == str(tmp_path / "models" / "org--tiny-model")
    assert prepare.model_path(model_of(None), tmp_path) == "org/tiny-model"


@pytest.mark.parametrize("shipped", ["fake_weights/tiny.onnx", "fake_weights/folder"])
def test_path_of_what_needs_no_conversion_is_where_its_package_has_it(
    tmp_path: Path, source: Path, converter: FakeConverter, shipped: str
) -> None:
    (source.parent / "tiny.onnx").touch()
    (source.parent / "folder").mkdir()
    model = model_of(shipped)
    assert run(tmp_path / "home", model) == []
    assert prepare.model_path(model, tmp_path / "home") == str(source.parents[1] / shipped)
    assert (converter.runs, (tmp_path / "home").exists()) == (0, False)


def test_path_does_not_depend_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare.model_path(MODEL, Path("home")) == str(tmp_path / "home" / "models" / "org--tiny-model")


def test_converts_once(tmp_path: Path, source: Path, converter: FakeConverter) -> None:
    first, second = run(tmp_path), run(tmp_path)
    assert converter.runs == 1
    assert weights(tmp_path) == b"weights"
    assert "converting" in first[0]
    assert second == []


def test_a_changed_source_is_converted_anew(tmp_path: Path, source: Path, converter: FakeConverter) -> None:
    run(tmp_path)
    source.write_bytes(b"changed")  # the same length
    run(tmp_path)
    assert weights(tmp_path) == b"changed"


def test_a_new_converter_converts_anew(
    tmp_path: Path, source: Path, converter: FakeConverter, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path)
    monkeypatch.setattr(convert, "VERSION", convert.VERSION + 1)
    run(tmp_path)
    assert converter.runs == 2


def test_a_failed_conversion_leaves_nothing_that_looks_whole(
    tmp_path: Path, source: Path, converter: FakeConverter
) -> None:
    converter.fails = True
    with pytest.raises(subprocess.CalledProcessError):
        run(tmp_path)
    assert not Path(prepare.model_path(MODEL, tmp_path)).exists()
    converter.fails = False
    run(tmp_path)
    assert weights(tmp_path) == b"weights"


def test_a_failed_conversion_keeps_the_model_before_it(tmp_path: Path, source: Path, converter: FakeConverter) -> None:
    run(tmp_path)
    source.write_bytes(b"changed")
    converter.fails = True
    with pytest.raises(subprocess.CalledProcessError):
        run(tmp_path)
    assert weights(tmp_path) == b"weights"


def test_no_leftovers(tmp_path: Path, source: Path, converter: FakeConverter) -> None:
    run(tmp_path)
    source.write_bytes(b"changed")
    run(tmp_path)
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"org--tiny-model", ".org--tiny-model.lock"}


def test_two_at_once_convert_once(tmp_path: Path, source: Path, converter: FakeConverter) -> None:
    threads = [threading.Thread(target=run, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert converter.runs == 1


def test_a_model_from_a_hub_needs_nothing(tmp_path: Path, converter: FakeConverter) -> None:
    assert run(tmp_path, model_of(None)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wheel_file", ["no_such_package/tiny.gguf", "fake_weights/other.gguf", "fake_weights/other.onnx"]
)
def test_a_missing_source_says_what_to_run(tmp_path: Path, source: Path, wheel_file: str) -> None:
    with pytest.raises(ConfigurationError, match=r"not installed; run scripts/01-setup\.sh"):
        run(tmp_path, model_of(wheel_file))


def test_the_converter_is_a_child_that_is_told_to_stay_offline(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], dict[str, Any]]] = []

    def fake_run(command: list[str], **options: Any) -> None:
        calls.append((command, options))
        Path(command[-1]).mkdir()

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(subprocess, "run", fake_run)
    run(tmp_path)
    [(command, options)] = calls
    assert command[:3] == [sys.executable, "-m", "workers.convert"]
    assert options["env"]["HF_HUB_OFFLINE"] == "1"
    assert options["check"]
    assert "HF_HUB_OFFLINE" not in os.environ


@pytest.mark.parametrize("argv", [["--profile", "nosuch"], ["--pull", "--model", "nosuch"]])
def test_a_wrong_name_is_named(argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("FAMILYAI_CATALOGUE", str(QUEUES))
    assert prepare.main(argv) == 2
    assert "nosuch" in capsys.readouterr().err


def test_the_echo_profile_needs_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAMILYAI_CATALOGUE", str(QUEUES))
    monkeypatch.setenv("FAMILYAI_HOME", str(tmp_path))
    assert prepare.main(["--profile", "echo"]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("queue", ["asr", "tts"])
def test_the_embedded_models_of_speech_are_in_their_packages(tmp_path: Path, queue: str) -> None:
    model = load_profile(QUEUES, "embedded").model(queue)
    assert Path(prepare.model_path(model, tmp_path)).exists()


@pytest.mark.real
@pytest.mark.timeout(300)
def test_the_embedded_model_is_whole_after_an_interruption_and_knows_paris(tmp_path: Path) -> None:
    model = load_profile(QUEUES, "embedded").model("chat-fast")
    _interrupt_a_conversion(tmp_path)
    run(tmp_path, model)
    assert "Paris" in _answer(prepare.model_path(model, tmp_path), "What is the capital of France?")


def _interrupt_a_conversion(home: Path) -> None:
    """SIGKILL, child and all, once the child is at work."""
    command = [sys.executable, "-m", "workers.prepare", "--profile", "embedded"]
    environment = {**os.environ, "FAMILYAI_HOME": str(home), "FAMILYAI_CATALOGUE": str(QUEUES)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True, text=True)
    assert process.stdout is not None
    assert "converting" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    process.stdout.close()


def _answer(path: str, question: str) -> str:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    assert tokenizer.chat_template
    assert model.dtype == torch.bfloat16
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    chat = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    tokens = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0][prompt["input_ids"].shape[1] :]
    assert tokens[-1] == model.generation_config.eos_token_id, "the answer ends by itself"
    return str(tokenizer.decode(tokens))


def test_a_setting_that_is_wrong_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAMILYAI_PORT", "many")
    assert prepare.main([]) == 2
    assert capsys.readouterr().err == "error: FAMILYAI_PORT=many: should be a whole number\n"
