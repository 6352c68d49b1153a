import pytest

from familyai.allowance import Allowance
from familyai.catalogue import Profile
from familyai.errors import BadRequest, Forbidden, NotFound
from routing.resolve import check_model, names, resolve

PROFILE = Profile.model_validate(
    {
        "memory_budget_gb": 4,
        "queues": {
            "chat-fast": {"model": "org/chat", "engine": "echo", "memory_gb": 1, "slots": 4},
            "chat-light": {"served_by": "chat-fast"},
            "asr": {"model": "org/ears", "engine": "echo", "memory_gb": 1, "slots": 1, "tasks": ["transcribe"]},
        },
        "aliases": {"auto": "chat-fast", "gpt-4o-mini": "chat-light"},
    }
)


@pytest.mark.parametrize(
    ("name", "queue", "physical", "model"),
    [
        ("chat-fast", "chat-fast", "chat-fast", "org/chat"),
        ("chat-light", "chat-light", "chat-fast", "org/chat"),
        ("auto", "chat-fast", "chat-fast", "org/chat"),
        ("gpt-4o-mini", "chat-light", "chat-fast", "org/chat"),
        ("org/chat", "chat-fast", "chat-fast", "org/chat"),
        ("org/ears", "asr", "asr", "org/ears"),
    ],
)
def test_every_kind_of_name_leads_to_its_queue(name: str, queue: str, physical: str, model: str) -> None:
    target = resolve(name, PROFILE)

    assert (target.queue, target.physical, target.model.model) == (queue, physical, model)


@pytest.mark.parametrize("name", ["gpt-9", "CHAT-FAST", "chat-fast ", "../chat-fast", "org/"])
def test_an_unknown_name_is_answered_with_the_names_there_are(name: str) -> None:
    with pytest.raises(NotFound) as caught:
        resolve(name, PROFILE)

    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")
    assert all(known in caught.value.message for known in ("auto", "gpt-4o-mini", "chat-fast", "chat-light", "asr"))


@pytest.mark.parametrize("name", [None, "", 7, ["chat-fast"], {"id": "chat-fast"}, True])
def test_a_model_must_be_named(name: object) -> None:
    with pytest.raises(BadRequest) as caught:
        resolve(name, PROFILE)

    assert caught.value.param == "model"


def test_every_listed_name_resolves() -> None:
    assert [resolve(name, PROFILE).queue for name in names(PROFILE)] == [
        "chat-fast",
        "chat-light",
        "chat-fast",
        "chat-light",
        "asr",
    ]


@pytest.mark.parametrize("models", [None, ("chat-fast",), ("chat-light",), ("asr", "chat-light")])
def test_a_model_is_theirs_by_its_own_name_or_its_queues(models: tuple[str, ...] | None) -> None:
    check_model(Allowance(models=models), resolve("chat-light", PROFILE))


@pytest.mark.parametrize(("models", "name"), [(("asr",), "auto"), (("chat-light",), "chat-fast"), ((), "chat-fast")])
def test_any_other_model_is_not(models: tuple[str, ...], name: str) -> None:
    with pytest.raises(Forbidden) as raised:
        check_model(Allowance(models=models), resolve(name, PROFILE))
    assert (raised.value.status, raised.value.code, raised.value.param) == (403, "model_not_allowed", "model")
    assert raised.value.message == f"You may not use 'chat-fast'. You can use: {', '.join(models) or 'none'}."
