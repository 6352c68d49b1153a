"""`familyai usage`: what was used, added up. An admin's key shows everybody's, any other its member's own."""

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from itertools import groupby

import msgspec
from rich.text import Text

from familyai.cli import console
from familyai.cli.api import Api, decoded
from familyai.cli.console import out, printable
from familyai.settings import load_settings
from familyai.usage import Usage, today


class By(StrEnum):
    """What rows stand for."""

    DAY = "day"
    MODEL = "model"
    MEMBER = "member"


class _Found(msgspec.Struct):
    data: list[Usage]


class Row(msgspec.Struct, frozen=True):
    """Sums over what has one day, model or member in common."""

    name: str
    requests: int
    input_tokens: int
    output_tokens: int
    audio_seconds: float
    characters: int


def show(days: int, member: str | None, by: By) -> int:
    """Prints the last so many days, today included; the exit code. Raises FamilyAIError."""
    last = today()
    asked = {"from": (last - timedelta(days=days - 1)).isoformat(), "to": last.isoformat()}
    with Api(load_settings()) as api:
        answer = api.ask("GET", "/v1/usage", params=asked | ({"member": member} if member else {}))
    _print(decoded(answer, _Found).data, by)
    return 0


def rows(usages: Iterable[Usage], by: By) -> list[Row]:
    """Sorted by name."""

    def name(usage: Usage) -> str:
        return str(getattr(usage, by))

    return [_sum(key, list(group)) for key, group in groupby(sorted(usages, key=name), name)]


def _sum(name: str, usages: list[Usage]) -> Row:
    return Row(
        name=name,
        requests=sum(usage.requests for usage in usages),
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        audio_seconds=sum(usage.audio_seconds for usage in usages),
        characters=sum(usage.characters for usage in usages),
    )


def _print(usages: list[Usage], by: By) -> None:
    if not usages:
        out.print("Nothing was used.")
        return
    made = console.table(by, "requests", "tokens in", "tokens out", "sound", "characters")
    for column in made.columns[1:]:
        column.justify = "right"
    several = rows(usages, by)
    for row in several:
        made.add_row(*_cells(row))
    if len(several) > 1:
        made.add_row(*_cells(_sum("total", usages)), style="bold")
    out.print(made)


def _cells(row: Row) -> list[Text | str]:
    counted = (row.requests, row.input_tokens, row.output_tokens)
    heard = console.duration(row.audio_seconds) if row.audio_seconds else "-"
    return [Text(printable(row.name)), *(_number(count) for count in counted), heard, _number(row.characters)]


def _number(count: int) -> str:
    return f"{count:,}" if count else "-"
