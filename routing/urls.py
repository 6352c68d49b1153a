"""Nothing in a request may make an engine call out: every URL it would fetch is `data:`, or on the allow-list.

Engines fetch what stands under `image_url`, `video_url`, `file_url`, `source.url` and their kin, as a string or one
level down. So every string under a key that ends in `url` is checked, wherever it stands, except inside what no engine
ever fetches: schemas, the arguments of tool calls, citations. A body too deep or too intricate to be walked is refused.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from familyai.errors import BadRequest

DATA_KEYS = frozenset(
    {
        "action",
        "annotations",
        "arguments",
        "attributes",
        "chat_template_kwargs",
        "citations",
        "documents",
        "guided_json",
    }
    | {"input_schema", "json", "json_schema", "metadata", "parameters", "results", "schema", "structural_tag"}
    | {"vllm_xargs"}
)
"""Values that describe or quote: an engine reads them as text or grammar."""

_DATA_URL = re.compile(r"data:", re.IGNORECASE)
_PLAIN_URL = re.compile(r"https?://[!-\[\]-~]+", re.IGNORECASE)
"""Printable ASCII without a backslash, which parsers disagree about."""
_CONTAINERS = (dict, list)
_DEFAULT_PORTS = {"http": 80, "https": 443}

DEEPEST = 254
"""Containers inside each other, the body included: what orjson writes."""
MOST_CONTAINERS = 100_000

Link = tuple[Any, str | int]
"""A key and the link above it, None at the top: a path that costs the same however deep it is."""


def check_urls(body: dict[str, Any], media_domains: tuple[str, ...]) -> None:
    """Raises BadRequest: names a parameter whose URL may not be fetched, or says that the body cannot be walked."""
    for link, url in _urls(body):
        if not may_fetch(url, media_domains):
            raise BadRequest(
                "only data: URLs are accepted here: send the content itself, base64-encoded",
                param=_written(link),
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


def _urls(body: dict[str, Any]) -> Iterator[tuple[Link, str]]:
    """Walks without recursion: a client decides how deep its body is."""
    pending: list[tuple[Link | None, Any, int]] = [(None, body, 1)]
    containers = 1
    while pending:
        above, value, depth = pending.pop()
        for key, child in _children(value, is_request=above is None):
            if isinstance(child, str):
                yield (above, key), child
                continue
            containers += 1
            _check_size(depth + 1, containers)
            pending.append(((above, key), child, depth + 1))


def _check_size(depth: int, containers: int) -> None:
    if depth > DEEPEST:
        raise BadRequest("the body is nested too deep", code="invalid_json")
    if containers > MOST_CONTAINERS:
        raise BadRequest(f"the body holds more than {MOST_CONTAINERS} lists and objects", code="too_complex")


def _children(value: dict[str, Any] | list[Any], is_request: bool) -> Iterable[tuple[str | int, Any]]:
    """Containers, and strings that are URLs.

    `input` is a tool's in a tool call, but the prompt itself in a Responses request, whatever else that claims.
    """
    if isinstance(value, list):
        return ((index, child) for index, child in enumerate(value) if type(child) in _CONTAINERS)
    is_tool_call = value.get("type") == "tool_use" and not is_request
    quoted = DATA_KEYS | {"input"} if is_tool_call else DATA_KEYS
    return ((key, child) for key, child in value.items() if key not in quoted and _matters(key, child))


def _matters(key: str, child: Any) -> bool:
    return type(child) in _CONTAINERS or (isinstance(child, str) and key.lower().endswith("url"))


def _written(link: Link | None) -> str:
    """As a client would write it: `messages[0].content[1].image_url.url`."""
    path: list[str] = []
    while link is not None:
        link, key = link
        path.append(f"[{key}]" if isinstance(key, int) else f".{key}")
    return "".join(reversed(path)).removeprefix(".")
