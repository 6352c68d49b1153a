"""Which models a member is shown: those that they may use."""

from collections.abc import AsyncIterator

import httpx
import pytest

from familyai.allowance import Role
from familyai.members import Change
from tests.api.support import Served

MODELS = "/v1/models"


@pytest.fixture
def theirs() -> list[str]:
    """Tests with other models give others."""
    return ["vectors"]


@pytest.fixture
async def leo(served: Served, theirs: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    _, key = await served.front.members.add("leo", Role.CHILD, Change(own={"models": theirs}))
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("theirs", "shown"),
    [
        (["vectors"], ["vectors"]),
        (["chat-light"], ["chat-light"]),
        (["chat"], ["auto", "chat", "chat-light"]),  # `chat` serves them all
    ],
)
async def test_the_list_is_what_they_may_use(leo: httpx.AsyncClient, shown: list[str]) -> None:
    listed = [model["id"] for model in (await leo.get(MODELS)).json()["data"]]

    assert listed == shown
    for name in ("auto", "chat", "chat-light", "vectors"):
        assert (await leo.get(f"{MODELS}/{name}")).status_code == (200 if name in shown else 404)


@pytest.mark.parametrize("name", ["auto", "chat", "org/chat"])
async def test_a_model_that_is_not_theirs_is_none(leo: httpx.AsyncClient, name: str) -> None:
    error = (await leo.get(f"{MODELS}/{name}")).json()["error"]

    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert error["message"] == f"there is no model '{name}' for you; you can use: vectors"


async def test_whoever_may_use_none_that_there_is_gets_an_empty_list(served: Served, leo: httpx.AsyncClient) -> None:
    served.front.profile.queues.pop("vectors")

    assert (await leo.get(MODELS)).json()["data"] == []


async def test_the_change_counts_at_once(served: Served, leo: httpx.AsyncClient) -> None:
    await served.front.members.change("leo", Change(reset=("models",)))

    listed = [model["id"] for model in (await leo.get(MODELS)).json()["data"]]
    assert listed == ["auto", "chat", "chat-light", "vectors"]
