"""What an editor's assistant asks for: completions under the code queues' names, streamed, stopped and fenced."""

import openai


def test_a_completion_continues_the_code(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="code-traditional",
        prompt="def add(a, b):\n    return a +",
        max_tokens=4,
        temperature=0,
        stop=["\n"],
    )
    assert answer.choices[0].text.strip() == "b"


def test_a_streamed_completion_is_the_plain_one(client: openai.OpenAI) -> None:
    asked = {"model": "code-traditional", "prompt": "for i in range(", "max_tokens": 12, "temperature": 0}
    plain = client.completions.create(**asked).choices[0].text  # type: ignore[call-overload]
    stream = client.completions.create(**asked, stream=True)  # type: ignore[call-overload]
    assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == plain


def test_several_prompts_in_one_request_keep_their_order(client: openai.OpenAI) -> None:
    prompts = ["one plus one is", "def main():"]
    answer = client.completions.create(model="code-agentic", prompt=prompts, max_tokens=2, extra_body={"echo": True})
    texts = [choice.text for choice in answer.choices]
    assert [text[: len(prompt)] for text, prompt in zip(texts, prompts, strict=True)] == prompts
