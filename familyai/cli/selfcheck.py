"""The proof that closes a start: one question through the whole path, its answer shown as it comes."""

from collections.abc import AsyncIterator

from familyai.catalogue import Profile, Task
from familyai.cli.console import out
from familyai.errors import FamilyAIError

QUESTION = "What is the capital of France?"
TIMEOUT_S = 180.0


class SelfCheckFailed(FamilyAIError):
    """Everything is healthy, and yet no answer came."""


def model_to_ask(profile: Profile) -> str | None:
    """`auto` where the household has it, else the first that generates text, if any does."""
    if "auto" in (*profile.routes, *profile.aliases):
        return "auto"
    return next((name for name, model in profile.models.items() if Task.GENERATE in model.tasks), None)


async def self_check(url: str, api_key: str, profile: Profile) -> None:
    """Prints question and answer. Raises SelfCheckFailed."""
    model = model_to_ask(profile)
    if model is None:
        return
    out.print(f"\n[bold]{QUESTION}[/]")
    words = 0
    async for text in _answer(url, api_key, model):
        out.print(text, end="", markup=False, soft_wrap=True)
        words += len(text.strip())
    out.print()
    if not words:
        raise SelfCheckFailed("the self-check got an empty answer")


async def _answer(url: str, api_key: str, model: str) -> AsyncIterator[str]:
    import openai  # a second of imports, while everything else is up already

    direct = openai.DefaultAsyncHttpxClient(trust_env=False, timeout=TIMEOUT_S)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=api_key, max_retries=0, http_client=direct) as client:
        try:
            async for chunk in await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": QUESTION}], stream=True, max_tokens=64, temperature=0
            ):
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content
        except openai.OpenAIError as error:
            raise SelfCheckFailed(f"the self-check got no answer: {error}") from error
