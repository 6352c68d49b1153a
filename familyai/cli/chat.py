"""`familyai chat`: one answer, or a small conversation, as any OpenAI client would hold it."""

import readline as _readline  # noqa: F401 (gives `input` line editing and history)
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from familyai.cli import console, stack
from familyai.cli.api import ApiFailed, api_message, key_of, nobody, something_else
from familyai.cli.console import out
from familyai.settings import Settings, load_settings

if TYPE_CHECKING:
    from openai import OpenAI

_CONTROL = dict.fromkeys(code for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t")
HELP = "Ctrl-C stops an answer, /new starts over, /help shows this, and /quit, exit, quit or Ctrl-D leaves."
QUIT = ("/quit", "/exit", "quit", "exit")
INTERRUPTED = 130


class Conversation:
    """What was said so far; each answer streams to the terminal and then belongs to the history."""

    def __init__(self, client: "OpenAI", model: str, system: str | None, max_tokens: int) -> None:
        self._client, self._model, self._max_tokens = client, model, max_tokens
        self._was_cut = False
        self._opening: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
        self._history: list[dict[str, str]] = []

    def forget(self) -> None:
        self._history.clear()

    def say(self, text: str) -> bool:
        """Prints the answer; False when Ctrl-C ended it, and what came is kept.

        Raises ApiFailed, and then forgets the question.
        """
        self._history.append({"role": "user", "content": text})
        answer: list[str] = []
        whole = True
        try:
            for piece in _after_thinking(self._stream()):
                answer.append(piece)
                out.print(piece.translate(_CONTROL), end="", markup=False, soft_wrap=True)
        except KeyboardInterrupt:
            whole = False
            out.print(" …", end="")
        except ApiFailed:
            self._history.pop()
            raise
        finally:
            out.print()
        self._history.append({"role": "assistant", "content": "".join(answer)})
        if whole and self._was_cut:
            console.err.print(f"[dim](cut: --max-tokens {self._max_tokens}, or all that the model can hold)[/]")
        return whole

    def _stream(self) -> Iterator[str]:
        import openai

        messages: Any = [*self._opening, *self._history]
        try:
            with self._client.chat.completions.create(
                model=self._model, messages=messages, max_tokens=self._max_tokens, stream=True
            ) as chunks:
                if not chunks.response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise self._something_else(chunks.response.status_code)
                for choice in (choice for chunk in chunks for choice in chunk.choices):
                    self._was_cut = choice.finish_reason == "length"
                    if choice.delta.content:
                        yield choice.delta.content
        except openai.APIConnectionError as error:
            raise nobody(str(self._client.base_url)) from error
        except openai.APIStatusError as error:
            words = api_message(error.body)
            raise ApiFailed(words) if words else self._something_else(error.status_code) from error
        except openai.APIError as error:
            raise ApiFailed(api_message(error.body) or error.message) from error

    def _something_else(self, status: int) -> ApiFailed:
        return something_else(str(self._client.base_url), status)


def chat(text: str | None, model: str, system: str | None, max_tokens: int) -> int:
    """The exit code. Raises ApiFailed."""
    conversation = Conversation(_client(load_settings()), model, system, max_tokens)
    if text is not None:
        return 0 if conversation.say(text) else INTERRUPTED
    out.print(f"[dim]{HELP}[/]")
    while (line := _ask()) is not None:
        _take(conversation, line.strip())
    return 0


def _after_thinking(pieces: Iterator[str]) -> Iterator[str]:
    """The same, with a spinner on a terminal until the first one comes."""
    with console.thinking():
        first = next(pieces, None)
    if first is not None:
        yield first
        yield from pieces


def _ask() -> str | None:
    """What was typed; None when the person leaves."""
    try:
        line = input("> ")
    except KeyboardInterrupt:
        out.print()
        return ""
    except EOFError:
        out.print()
        return None
    return None if line.strip().lower() in QUIT else line


def _take(conversation: Conversation, line: str) -> None:
    if line == "/new":
        conversation.forget()
        out.print("[dim]A new conversation.[/]")
    elif line.startswith("/") or line.lower() == "help":
        out.print(f"[dim]{HELP}[/]")
    elif line:
        try:
            conversation.say(line)
        except ApiFailed as error:
            out.print(f"[red]{error}[/]", soft_wrap=True)


def _client(settings: Settings) -> "OpenAI":
    import openai

    here = stack.is_loopback(urlsplit(settings.client_url).hostname or "")
    return openai.OpenAI(
        base_url=f"{settings.client_url}/v1",
        api_key=key_of(settings),
        max_retries=0,
        http_client=openai.DefaultHttpxClient(trust_env=not here),  # no proxy between this machine and itself
    )
