"""A batch's input is read in pieces and refused by line."""

import json
from pathlib import Path
from typing import Any

from api.work.batch_input import MOST_PROBLEMS, InputCheck, numbered_lines
from familyai.batches import Problem
from familyai.blobs import BlobStore
from familyai.limits import Limits

CHAT = "/v1/chat/completions"
LIMITS = Limits(json_body_mb=0.001, batch_lines=200)


def a_line(custom_id: str, **change: Any) -> bytes:
    return json.dumps(
        {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": {"model": "auto"}} | change
    ).encode()


def checked(lines: list[bytes]) -> InputCheck:
    check = InputCheck(CHAT, LIMITS)
    check.add(list(enumerate(lines, 1)))
    check.end()
    return check


def test_a_sound_input() -> None:
    check = checked([a_line("a"), a_line("b", body={})])
    assert (check.total, check.problems) == (2, [])


def test_every_bad_line_is_listed() -> None:
    bad = [b"nonsense", a_line("a"), a_line("a"), b"[1]", a_line("c", url="/v1/x"), a_line("d" * 2000), a_line("e")]
    found = [(problem.line, problem.code, problem.param) for problem in checked(bad).problems]
    assert found == [
        (1, "invalid_json_line", None),
        (3, "duplicate_custom_id", "custom_id"),
        (4, "invalid_json_line", None),
        (5, "url_mismatch", "url"),
        (6, "line_too_large", None),
    ]


def test_an_empty_input() -> None:
    assert [problem.code for problem in checked([]).problems] == ["empty_file"]


def test_too_many_requests() -> None:
    check = checked([a_line(str(number)) for number in range(201)])
    assert check.problems == [Problem("too_many_tasks", "The file has more than 200 requests.")]
    assert check.is_hopeless


def test_no_more_problems_than_anybody_reads() -> None:
    check = checked([b"x"] * 150)
    assert len(check.problems) == MOST_PROBLEMS
    assert check.is_hopeless


async def test_lines_across_chunks(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path.as_uri())
    lines = [b"%d %s" % (number, b"x" * 900) for number in range(3000)]
    await blobs.put("files/f", b"\n\n".join(lines))
    found = [line async for some in numbered_lines(blobs, "files/f", LIMITS) for line in some]
    assert found == [(2 * index + 1, line) for index, line in enumerate(lines)]
