"""`familyai chat`: one answer, or a small conversation, as any OpenAI client would hold it."""

import readline as _readline  # noqa: F401 (gives `input` line editing and history)
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from familyai.cli import stack
from familyai.cli.console import out, own_command
from familyai.errors import FamilyAIError
from familyai.settings import Settings, load_settings

if TYPE_CHECKING:
    from openai import OpenAI

_CONTROL = dict.fromkeys(code for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t")
HELP = "Ctrl-C stops an answer, /new starts over, /quit or Ctrl-D leaves."


class ChatFailed(FamilyAIError):
    """The API's own message, or why there is no API to ask."""


class Conversation:
    """What was said so far; each answer streams to the terminal and then belongs to the history."""

    def __init__(self, client: "OpenAI", model: str, system: str | None) -> None:
        self._client, self._model = client, model
        self._opening: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
        self._history: list[dict[str, str]] = []

    def forget(self) -> None:
        self._history.clear()

    def say(self, text: str) -> None:
        """Prints the answer; Ctrl-C ends it and keeps what came. Raises ChatFailed, and then forgets the question."""
        self._history.append({"role": "user", "content": text})
        answer: list[str] = []
        try:
            for piece in self._stream():
                answer.append(piece)
                out.print(piece.translate(_CONTROL), end="", markup=False, soft_wrap=True)
        except KeyboardInterrupt:
            out.print(" …", end="")
        except ChatFailed:
            self._history.pop()
            raise
        finally:
            out.print()
        self._history.append({"role": "assistant", "content": "".join(answer)})

    def _stream(self) -> Iterator[str]:
        import openai

        messages: Any = [*self._opening, *self._history]
        try:
            with self._client.chat.completions.create(model=self._model, messages=messages, stream=True) as chunks:
                for chunk in chunks:
                    if chunk.choices and chunk.choices[0].delta.content:
                        yield chunk.choices[0].delta.content
        except openai.APIConnectionError as error:
            raise ChatFailed(
                f"nobody answers at {self._client.base_url}; start FamilyAI with: {own_command()} up"
            ) from error
        except openai.APIError as error:
            raise ChatFailed(api_message(error.body) or error.message) from error


def chat(text: str | None, model: str, system: str | None) -> int:
    """The exit code. Raises ChatFailed."""
    conversation = Conversation(_client(load_settings()), model, system)
    if text is not None:
        conversation.say(text)
        return 0
    out.print(f"[dim]{HELP}[/]")
    while (line := _ask()) is not None:
        _take(conversation, line.strip())
    return 0


def api_message(body: object) -> str | None:
    """The message in OpenAI's error envelope, with or without its outer `error`."""
    inner = body.get("error", body) if isinstance(body, dict) else None
    message = inner.get("message") if isinstance(inner, dict) else None
    return message if isinstance(message, str) else None


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
    return None if line.strip() == "/quit" else line


def _take(conversation: Conversation, line: str) -> None:
    if line == "/new":
        conversation.forget()
        out.print("[dim]A new conversation.[/]")
    elif line.startswith("/"):
        out.print(f"[dim]{HELP}[/]")
    elif line:
        try:
            conversation.say(line)
        except ChatFailed as error:
            out.print(f"[red]{error}[/]", soft_wrap=True)


def _client(settings: Settings) -> "OpenAI":
    import openai

    key = settings.api_key.get_secret_value()
    if not key:
        raise ChatFailed(f"no key: start FamilyAI with {own_command()} up, or set FAMILYAI_URL and FAMILYAI_API_KEY")
    here = stack.is_loopback(urlsplit(settings.client_url).hostname or "")
    return openai.OpenAI(
        base_url=f"{settings.client_url}/v1",
        api_key=key,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(trust_env=not here),  # no proxy between this machine and itself
    )
