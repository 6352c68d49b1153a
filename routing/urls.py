"""Nothing in a request may make an engine call out: every URL it would fetch is `data:`, or on the allow-list.

Engines fetch what stands under `image_url`, `video_url`, `file_url`, `source.url` and their kin, as a string or one
level down. So every string under a key that ends in `url` is checked, wherever it stands, except inside what no engine
ever fetches: schemas, the arguments of tool calls, citations.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from familyai.errors import BadRequest

DATA_KEYS = frozenset(
    {"action", "annotations", "arguments", "chat_template_kwargs", "documents", "guided_json", "input_schema", "json"}
    | {"json_schema", "metadata", "parameters", "schema", "structural_tag"}
)
"""Values that describe or quote: an engine reads them as text or grammar."""

_DATA_URL = re.compile(r"data:", re.IGNORECASE)
_PLAIN_URL = re.compile(r"https?://[!-\[\]-~]+", re.IGNORECASE)
"""Printable ASCII without a backslash, which parsers disagree about."""
_DEFAULT_PORTS = {"http": 80, "https": 443}

Path = tuple[str | int, ...]


def check_urls(body: dict[str, Any], media_domains: tuple[str, ...]) -> None:
    """Raises BadRequest that names a parameter whose URL may not be fetched."""
    for path, url in _urls(body):
        if not may_fetch(url, media_domains):
            raise BadRequest(
                "only data: URLs are accepted here: send the content itself, base64-encoded",
                param=_written(path),
                code="url_not_allowed",
            )


def may_fetch(url: str, media_domains: tuple[str, ...]) -> bool:
    """`data:` always; http(s) when the host is listed, on its usual port, and parsers cannot disagree about it."""
    if _DATA_URL.match(url):
        return True
    if not _PLAIN_URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        usual_port = parts.port in (None, _DEFAULT_PORTS[parts.scheme])
    except ValueError:
        return False
    listed = (parts.hostname or "") in {domain.lower() for domain in media_domains}
    return listed and usual_port and "@" not in parts.netloc


def _urls(body: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Walks without recursion: a client decides how deep its body is."""
    pending: list[tuple[Path, Any]] = [((), body)]
    while pending:
        path, value = pending.pop()
        for key, child in _children(value, is_request=not path):
            if isinstance(child, dict | list):
                pending.append(((*path, key), child))
            elif isinstance(child, str) and _names_url(key):
                yield (*path, key), child


def _children(value: dict[str, Any] | list[Any], is_request: bool) -> Iterable[tuple[str | int, Any]]:
    """`input` is a tool's in a tool call, but the prompt itself in a Responses request, whatever else that claims."""
    if isinstance(value, list):
        return enumerate(value)
    is_tool_call = value.get("type") == "tool_use" and not is_request
    quoted = DATA_KEYS | {"input"} if is_tool_call else DATA_KEYS
    return [(key, child) for key, child in value.items() if key not in quoted]


def _names_url(key: str | int) -> bool:
    return isinstance(key, str) and key.lower().endswith("url")


def _written(path: Path) -> str:
    """As a client would write it: `messages[0].content[1].image_url.url`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
