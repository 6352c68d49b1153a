"""Whether a client got what it was owed: the answer, whole and once, or an error that says so. Pure.

An answer may end with an error as often as it likes; what it may not do is look like something that it is not.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from .questions import ECHOED, STREAMED, Question, Sort
from .transcript import Ended, Transcript

DONE = b"[DONE]"
_WAV_HEADER_BYTES = 44
_UNTIL_THE_END = 0xFFFFFFFF
_LEAST_SPEECH_BYTES = 22_050 * 2 * 3
"""Three seconds of the embedded voice; what is asked for takes twice as long."""


class Fault(StrEnum):
    """What may never happen."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    TRUNCATED = "truncated without an error"
    FALSE_DONE = "false [DONE]"
    CHANGED = "changed"
    """Words missing in the middle, in another order, of another answer, or an answer against its own form."""


@dataclass(frozen=True)
class Verdict:
    """`error`: the code of the error that it ended with, if it did. Neither error nor faults: a good answer."""

    faults: frozenset[Fault] = frozenset()
    error: str = ""
    words: str = ""


@dataclass(frozen=True)
class _Said:
    """What a stream says, apart from its dialect. `error` is None where none was told."""

    pieces: list[str]
    dones: int
    error: str | None
    after_end: int
    """Events after a `[DONE]` or an error: there may be none."""


def judge(transcript: Transcript) -> Verdict:
    """Of anything but a batch."""
    if transcript.ended is Ended.REFUSED:
        return Verdict(frozenset({Fault.LOST}) if _is_loss(transcript) else frozenset(), error=transcript.code)
    if transcript.question.sort in STREAMED:
        return _judge_stream(transcript)
    if transcript.ended is not Ended.IN_ORDER:
        return _judge_end(transcript, set())
    faults = _check_body(transcript)
    return Verdict(frozenset(faults), words=repr(transcript.body[:200]) if faults else "")


def is_told(transcript: Transcript) -> bool:
    """Whether a stream has said that it is over, or why it is not whole."""
    said = _said(transcript)
    return said.dones > 0 or said.error is not None


def judge_lines(wanted: Mapping[str, object], told: Sequence[dict[str, Any]]) -> Verdict:
    """Of a batch that is over: `told` are the lines of its output and of its errors; an answer is its line's id."""
    times = Counter(line["custom_id"] for line in told)
    good = {line["custom_id"]: line for line in told if _status(line) == "200"}
    errors = sorted({_status(line) for line in told if _status(line) != "200"})
    faults = {Fault.LOST} if set(wanted) - set(times) else set()
    faults |= {Fault.DUPLICATED} if max(times.values(), default=0) > 1 else set()
    faults |= {Fault.CHANGED} if set(times) - set(wanted) else set()
    faults |= {Fault.FALSE_DONE} if any(_content(line).strip() != name for name, line in good.items()) else set()
    return Verdict(frozenset(faults), error=f"lines: {', '.join(errors)}" if errors else "", words=f"{len(told)} lines")


def _is_loss(transcript: Transcript) -> bool:
    """Whoever comes back for an answer that was promised to be kept has lost it when nobody knows of it."""
    return transcript.code in ("job_not_found", "answer_not_kept")


def _judge_stream(transcript: Transcript) -> Verdict:
    said = _said(transcript)
    faults = _check_numbers([event.number for event in transcript.events], has_error=said.error is not None)
    faults |= {Fault.DUPLICATED} if said.dones > 1 else set()
    faults |= {Fault.CHANGED} if said.after_end or (said.dones and transcript.is_torn) else set()
    faults |= _check_words(transcript.question, said)
    if said.error is not None:
        return Verdict(frozenset(faults), said.error, _words(said) if faults else "")
    if said.dones:
        faults |= set() if transcript.question.sort in ECHOED else _check_form(transcript)
        return Verdict(frozenset(faults), words=_words(said) if faults else "")
    return _judge_end(transcript, faults)


def _judge_end(transcript: Transcript, faults: set[Fault]) -> Verdict:
    """Of what has neither a last word nor an error in it."""
    words = f"{len(transcript.events)} events, job {transcript.job_id}, {transcript.connections} connections"
    match transcript.ended:
        case Ended.WAITING:
            return Verdict(frozenset(faults | {Fault.LOST}), words=words)
        case Ended.IN_ORDER:
            return Verdict(frozenset(faults | {Fault.TRUNCATED}), words=words)
        case Ended.LEFT:
            return Verdict(frozenset(faults), "client left", words if faults else "")
        case _:
            return Verdict(frozenset(faults), transcript.code, words if faults else "")


def _said(transcript: Transcript) -> _Said:
    return _responses(transcript) if transcript.question.sort is Sort.REAL_RESPONSES else _completions(transcript)


def _completions(transcript: Transcript) -> _Said:
    """Chat's and completions' chunks: a word each, as the echo engine says them."""
    pieces: list[str] = []
    dones, error, after_end = 0, None, 0
    for event in transcript.events:
        after_end += dones > 0 or error is not None
        if event.data == DONE:
            dones += 1
            continue
        chunk = _parsed(event.data)
        if "error" in chunk:
            error = _code(chunk["error"])
        pieces += [text for choice in chunk.get("choices", ()) if (text := _text(choice))]
    return _Said(pieces, dones, error, after_end)


def _responses(transcript: Transcript) -> _Said:
    """The Responses API has typed events, and its last one says that it was the last."""
    chunks = [_parsed(event.data) for event in transcript.events]
    kinds = [chunk.get("type", "") for chunk in chunks]
    ends = [place for place, kind in enumerate(kinds) if kind in ("response.completed", "response.incomplete")]
    errors = [place for place, kind in enumerate(kinds) if kind in ("error", "response.failed")]
    pieces = [chunk["delta"] for chunk in chunks if chunk.get("type") == "response.output_text.delta"]
    first = min([*ends, *errors], default=len(kinds))
    error = _code(chunks[errors[0]]) if errors else None
    return _Said(pieces, len(ends), error, len(kinds[first + 1 :]))


def _check_numbers(numbers: list[int | None], has_error: bool) -> set[Fault]:
    """Ids count from one, without a gap. The error with which a front ends a stream has none: it is no part of it."""
    if has_error and numbers[-1] is None:
        numbers = numbers[:-1]
    if len(set(numbers)) < len(numbers) and None not in numbers:
        return {Fault.DUPLICATED}
    return set() if numbers == list(range(1, len(numbers) + 1)) else {Fault.CHANGED}


def _check_words(question: Question, said: _Said) -> set[Fault]:
    """Of an answer that is known: what came is its beginning, each word once, and all of it where it says so."""
    if question.sort not in ECHOED:
        return set()
    wanted, faults = question.answer, set()
    if len(set(said.pieces)) < len(said.pieces):
        faults.add(Fault.DUPLICATED)
    elif said.pieces != wanted[: len(said.pieces)]:
        faults.add(Fault.CHANGED)
    if said.dones and said.pieces != wanted:
        faults.add(Fault.FALSE_DONE)
        faults |= {Fault.TRUNCATED} if said.pieces == wanted[: len(said.pieces)] else set()
    return faults


def _check_form(transcript: Transcript) -> set[Fault]:
    """Of an answer whose words nobody knows."""
    chunks = [_parsed(event.data) for event in transcript.events if event.data != DONE]
    if transcript.question.sort is Sort.REAL_RESPONSES:
        numbers = [chunk.get("sequence_number") for chunk in chunks]
        return set() if numbers == list(range(len(chunks))) else {Fault.CHANGED}
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    used = [chunk["usage"]["completion_tokens"] for chunk in chunks if chunk.get("usage")]
    told = sum(len(choice.get("token_ids") or ()) for choice in choices)
    is_in_form = (
        len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
        and sum(bool(choice["delta"].get("role")) for choice in choices) == 1
        and sum(choice.get("finish_reason") is not None for choice in choices) == 1
        and used == [told]
    )
    return set() if is_in_form else {Fault.CHANGED}


def _check_body(transcript: Transcript) -> set[Fault]:
    checks: dict[Sort, Callable[[Transcript], set[Fault]]] = {Sort.WHOLE: _check_whole, Sort.SPEECH: _check_speech}
    check = checks.get(transcript.question.sort, _check_transcription)
    try:
        return check(transcript)
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return {Fault.CHANGED}


def _check_whole(transcript: Transcript) -> set[Fault]:
    answer, question = orjson.loads(transcript.body), transcript.question
    text, wanted = answer["choices"][0]["message"]["content"], "".join(question.answer)
    if text == wanted:
        return set() if answer["usage"]["completion_tokens"] == question.words else {Fault.CHANGED}
    return {Fault.TRUNCATED, Fault.FALSE_DONE} if wanted.startswith(text) else {Fault.FALSE_DONE}


def _check_speech(transcript: Transcript) -> set[Fault]:
    """The header says how long it is, or that it lasts until its end."""
    body = transcript.body
    if body[:4] != b"RIFF" or body[8:12] != b"WAVE":
        return {Fault.CHANGED}
    told_bytes, is_bytes = int.from_bytes(body[4:8], "little"), len(body) - 8
    if told_bytes not in (is_bytes, _UNTIL_THE_END) or len(body) < _WAV_HEADER_BYTES + _LEAST_SPEECH_BYTES:
        return {Fault.TRUNCATED}
    return set()


def _check_transcription(transcript: Transcript) -> set[Fault]:
    """What was heard: of a recording of speech, anything at all."""
    return set() if orjson.loads(transcript.body)["text"].strip() else {Fault.TRUNCATED}


def _text(choice: dict[str, Any]) -> str:
    return choice.get("text") or choice.get("delta", {}).get("content") or ""


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {"error": {"code": "no_json"}}
    return parsed if isinstance(parsed, dict) else {"error": {"code": "no_object"}}


def _code(error: Any) -> str:
    return str(error.get("code") or error.get("type") or "error") if isinstance(error, dict) else "error"


def _status(line: dict[str, Any]) -> str:
    response, error = line.get("response"), line.get("error")
    return str(response["status_code"] if response else (error or {}).get("code", "error"))


def _content(line: dict[str, Any]) -> str:
    return str(line["response"]["body"]["choices"][0]["message"]["content"])


def _words(said: _Said) -> str:
    return f"{len(said.pieces)} pieces, the last {said.pieces[-3:]}, {said.dones} [DONE]"
