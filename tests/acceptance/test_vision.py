"""Images, where no model sees any: the embedded household says so in words, and nobody's answer suffers."""

import base64

import openai
import pytest

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
URL = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
ASKED = [{"type": "text", "text": "What is in this picture?"}, {"type": "image_url", "image_url": {"url": URL}}]


@pytest.mark.parametrize("model", ["auto", "gpt-4o", "vision", "chat-fast"])
def test_an_image_is_refused_in_words(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": ASKED}])  # type: ignore[misc, list-item]
    assert raised.value.code == "image_not_supported"
    assert "no model of this household does" in raised.value.message


def test_the_router_knows_an_image_by_sight(client: openai.OpenAI) -> None:
    asked = {"messages": [{"role": "user", "content": ASKED}]}
    told = client.post("/route", body=asked, cast_to=dict[str, object])
    assert (told["kind"], told["queue"], told["confidence"]) == ("vision", "vision", 1)
    assert "no model of this household sees images" in str(told["reason"])


def test_the_next_question_is_answered(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "What is the capital of France?"}], max_tokens=16
    )
    assert "Paris" in str(answer.choices[0].message.content)
