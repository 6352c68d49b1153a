"""What the environment decides, what the home adds, and that nobody has to guess a variable's name."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from familyai.blobs import BlobStore
from familyai.errors import ConfigurationError
from familyai.settings import Settings, _named_mistakes, load_settings

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, and no other variable of ours."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FAMILYAI_{name.upper()}", raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("FAMILYAI_HOME", str(folder))
    return folder


def test_without_anything_it_is_a_laptop_and_stays_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAMILYAI_HOME")
    settings = Settings()
    assert (settings.home, settings.profile, settings.host) == (Path(".familyai"), "embedded", "127.0.0.1")


def test_the_home_fills_in_what_the_environment_leaves_out(home: Path) -> None:
    (home / "broker.env").write_text("FAMILYAI_BROKER_URL=redis://:secret@127.0.0.1:1/0\n")
    (home / "env").write_text("FAMILYAI_URL=http://127.0.0.1:2\nFAMILYAI_API_KEY=fai-1\n")
    settings = load_settings()
    assert settings.broker_url.get_secret_value() == "redis://:secret@127.0.0.1:1/0"
    assert settings.client_url == "http://127.0.0.1:2"
    assert settings.api_key.get_secret_value() == "fai-1"


def test_the_environment_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "env").write_text("FAMILYAI_URL=http://127.0.0.1:2\nFAMILYAI_PORT=2\n")
    monkeypatch.setenv("FAMILYAI_URL", "http://127.0.0.1:1")
    settings = load_settings()
    assert (settings.url, settings.port) == ("http://127.0.0.1:1", 2)


def test_an_empty_variable_counts_as_unset(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "env").write_text("FAMILYAI_API_KEY=fai-1\n")
    monkeypatch.setenv("FAMILYAI_API_KEY", "")
    monkeypatch.setenv("FAMILYAI_PORT", "")
    settings = load_settings()
    assert (settings.api_key.get_secret_value(), settings.port) == ("fai-1", 8080)


def test_an_empty_home_is_not_the_folder_one_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAMILYAI_HOME", "")
    assert Settings().home == Path(".familyai")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FAMILYAI_PORT", "http", "should be a whole number"),
        ("FAMILYAI_PORT", "0", "should be 1 or more"),
        ("FAMILYAI_WORKER_PORT", "70000", "should be 65535 or less"),
        ("FAMILYAI_TRUSTED_PROXIES", "proxy.home", "'proxy.home' does not appear to be an IPv4 or IPv6 network"),
        ("FAMILYAI_TRUSTED_PROXIES", "192.0.2.1/8", "192.0.2.1/8 has host bits set"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name}={value}: {words}$"):
        load_settings()


@pytest.mark.parametrize("name", ["broker_url", "api_key"])
def test_a_wrong_secret_is_named_without_its_value(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^FAMILYAI_{name.upper()}: (?!.*1234)"):
        _named_mistakes(lambda: Settings(**{name: 1234}))


def test_a_secret_that_anybody_could_guess_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAMILYAI_OPENWEBUI_JWT_SECRET", "hunter2" * 4)
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    assert str(raised.value) == "FAMILYAI_OPENWEBUI_JWT_SECRET: should have 32 bytes or more"
    monkeypatch.setenv("FAMILYAI_OPENWEBUI_JWT_SECRET", "ü" * 16)
    assert load_settings().openwebui_jwt_secret.get_secret_value() == "ü" * 16


def test_proxies_are_networks_also_as_ipv6_sees_them() -> None:
    assert Settings().proxies == []
    settings = Settings(trusted_proxies="192.0.2.1, 10.0.0.0/8,2001:db8::/32,")
    assert settings.proxies[:3] == ["192.0.2.1/32", "10.0.0.0/8", "2001:db8::/32"]
    assert settings.proxies[3:] == ["::ffff:192.0.2.1/128", "::ffff:10.0.0.0/104"]


@pytest.mark.parametrize("show", [repr, str, lambda settings: settings.model_dump_json()])
def test_secrets_are_not_shown(show, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("FAMILYAI_BROKER_URL", "redis://:hunter2@127.0.0.1:1/0")
    monkeypatch.setenv("FAMILYAI_API_KEY", "fai-hunter2")
    assert "hunter2" not in show(Settings())


def test_clients_find_the_front_by_host_and_port_unless_told_otherwise() -> None:
    assert Settings(host="192.168.1.2", port=81).client_url == "http://192.168.1.2:81"
    assert Settings(url="https://ai.home").client_url == "https://ai.home"


@pytest.mark.parametrize("name", ["plain", "The Family's home", "100%", "ключи"])
async def test_blobs_lie_in_the_home_whatever_its_name(tmp_path: Path, name: str) -> None:
    await BlobStore(Settings(home=tmp_path / name).blobs).put("job-1", b"x")
    assert (tmp_path / name / "blobs" / "job-1").read_bytes() == b"x"


def test_another_blob_store_is_taken_as_it_is() -> None:
    assert Settings(blob_url="s3://bucket/blobs").blobs == "s3://bucket/blobs"


def rows_of_the_page() -> dict[str, str]:
    """Each variable of the settings table with the default it states."""
    rows = re.findall(r"^\| `(FAMILYAI_\w+)` +\| (.*?) +\|", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)


def test_the_operations_page_lists_every_setting_and_no_other() -> None:
    assert rows_of_the_page().keys() == {f"FAMILYAI_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_operations_page_states_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAMILYAI_HOME")
    default = getattr(Settings(), name)
    text = default.get_secret_value() if hasattr(default, "get_secret_value") else str(default)
    stated = rows_of_the_page()[f"FAMILYAI_{name.upper()}"]
    assert stated == (f"`{text}`" if text else "none")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa/hunter2@127.0.0.1:6379/0",
        "redis://:hunter2@host:port/0",
        "http://:hunter2@h:1",
        "redis://:h#unter2@h:1",
        "hunter2",
    ],
)
def test_a_brokers_url_that_cannot_be_read_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^FAMILYAI_BROKER_URL: should be redis://") as refused:
        _named_mistakes(lambda: Settings(broker_url=SecretStr(url)))
    assert "unter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["", "redis://h", "redis://u:p%40w@h:1/0", "rediss://h:1", "unix:///run/valkey.sock"])
def test_a_brokers_url_that_can_be_read_is_taken(url: str) -> None:
    assert Settings(broker_url=SecretStr(url)).broker_url.get_secret_value() == url
