"""Where a new member is told to find FamilyAI."""

import pytest

from familyai.allowance import Role
from familyai.cli import member
from familyai.members import Member
from familyai.settings import Settings

HERE = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("known", "listens_on", "lan", "url"),
    [
        (HERE, "127.0.0.1", "192.168.1.7", HERE),
        (HERE, "0.0.0.0", "192.168.1.7", "http://192.168.1.7:8080"),
        ("http://0.0.0.0:8080", "0.0.0.0", "192.168.1.7", "http://192.168.1.7:8080"),
        (HERE, "0.0.0.0", None, HERE),
        ("http://192.168.1.7:8080", "192.168.1.7", "10.0.0.1", "http://192.168.1.7:8080"),
        ("https://ai.home", "0.0.0.0", "192.168.1.7", "https://ai.home"),
    ],
)
def test_a_device_is_told_an_address_it_can_reach(known: str, listens_on: str, lan: str | None, url: str) -> None:
    assert member.front_url(known, listens_on, 8080, lan) == url


@pytest.mark.parametrize(
    ("addresses", "chosen"),
    [
        (["127.0.0.1", "169.254.3.4", "8.8.8.8", "192.168.1.7", "10.0.0.1"], "192.168.1.7"),
        (["127.0.0.1", "8.8.8.8"], None),
    ],
)
def test_the_address_is_one_of_the_local_network(addresses: list[str], chosen: str | None) -> None:
    assert member.private_address(addresses) == chosen


@pytest.mark.parametrize(("host", "told"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_a_front_on_loopback_is_said_to_be_out_of_reach(
    host: str, told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(member.session, "settings_of_stack", lambda: Settings(host=host, url=HERE))
    monkeypatch.setattr(member, "_own_addresses", lambda: ["192.168.1.7"])
    member._show_key(Member(name="mum", role=Role.ADULT, key_id="0" * 12, created_at_s=0), "fai-key")
    assert ("FAMILYAI_HOST=0.0.0.0" in capsys.readouterr().out) is told
