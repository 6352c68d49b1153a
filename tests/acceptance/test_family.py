"""Several people, one real model: everybody's limits, what each used, and nobody kept waiting by another's flood."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.conftest import Household
from tests.support import wait_until

MakeMember = Callable[..., openai.OpenAI]


@pytest.fixture
def admin(household: Household) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {household.api_key}"}
    with httpx.Client(base_url=household.url, headers=headers, timeout=60) as made:
        yield made


@pytest.fixture
def new_member(household: Household, admin: httpx.Client) -> Iterator[MakeMember]:
    names: list[str] = []

    def make(name: str, role: str = "adult", **limits: Any) -> openai.OpenAI:
        names.append(f"{name} {secrets.token_hex(3)}")
        made = admin.post("/v1/admin/members", json={"name": names[-1], "role": role, **limits})
        assert made.status_code == 201, made.text
        client = openai.OpenAI(base_url=f"{household.url}/v1", api_key=made.json()["api_key"], max_retries=0)
        client.user_name = names[-1]  # type: ignore[attr-defined]
        return client

    yield make
    for name in names:
        admin.delete(f"/v1/admin/members/{name}")


def ask(client: openai.OpenAI, text: str, max_tokens: int = 8, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="auto", messages=messages, max_tokens=max_tokens, **more)


def used(admin: httpx.Client, client: openai.OpenAI) -> dict[str, int]:
    (usage,) = admin.get("/v1/usage", params={"member": client.user_name}).json()["data"] or [{}]  # type: ignore[attr-defined]
    return usage  # type: ignore[no-any-return]


def test_the_books_say_what_the_answers_said(admin: httpx.Client, new_member: MakeMember) -> None:
    ada = new_member("Ada")
    told = [ask(ada, "Name a colour.").usage, ask(ada, "Name two animals.", n=2).usage]
    wait_until(lambda: used(admin, ada).get("requests") == 3, "three answers are in the books")
    assert used(admin, ada)["input_tokens"] == sum(usage.prompt_tokens for usage in told)
    assert used(admin, ada)["output_tokens"] == sum(usage.completion_tokens for usage in told)


def test_who_leaves_in_the_middle_of_a_whole_answer_is_charged_for_it(
    household: Household, admin: httpx.Client, new_member: MakeMember
) -> None:
    leo = new_member("Leo")
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": "Count."}],
        "max_tokens": 2000,
        "ignore_eos": True,
    }
    with (
        httpx.Client(base_url=household.url, headers={"Authorization": f"Bearer {leo.api_key}"}) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.post("/v1/chat/completions", json=body, timeout=6)
    wait_until(lambda: used(admin, leo).get("requests") == 1, "it is in the books")
    assert 0 < used(admin, leo)["output_tokens"] < 2000
    assert used(admin, leo)["input_tokens"] > 0


def test_a_child_s_words_for_the_day_come_to_an_end(new_member: MakeMember) -> None:
    """Who comes before the last answer is in the books is told to come again in a moment; OpenAI's client does."""
    mia, tokens = new_member("Mia", "child", tokens_per_day=200).with_options(max_retries=2), []

    def chat_on() -> None:
        for _ in range(20):
            answer = ask(mia, "Tell me about foxes.", max_tokens=60, extra_body={"ignore_eos": True})
            tokens.append(answer.usage.total_tokens)

    with pytest.raises(openai.RateLimitError) as refused:
        chat_on()
    assert 100 < sum(tokens) <= 200
    assert refused.value.code == "tokens_per_day"
    assert int(refused.value.response.headers["retry-after"]) > 60
    assert "Try again in" in refused.value.message


def test_a_flood_of_one_member_s_does_not_keep_another_waiting(new_member: MakeMember) -> None:
    flooder, quiet = new_member("Flood"), new_member("Quiet")
    with ThreadPoolExecutor(40) as pool:
        flood = [
            pool.submit(ask, flooder, f"Story {n}", max_tokens=24, extra_body={"ignore_eos": True}) for n in range(40)
        ]
        wait_until(lambda: any(future.done() for future in flood), "the flood is under way", limit_s=120)
        ask(quiet, "Hello!", max_tokens=4)
        waiting = sum(not future.done() for future in flood)
        assert all(future.result() for future in flood)
    assert waiting >= 8, "the quiet member was answered while most of the flood had still to be"
