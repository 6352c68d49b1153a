"""One line per event on stderr: time, level, process, action, words, then every other field of `extra` as `key=value`.

    2026-11-22T21:00:00Z INFO front job.enqueued a request waits job=job-1f queue=chat-fast

The action comes first because it is what one greps for. Values never carry a prompt, an answer or a key: that is the
caller's duty, and the reason why Celery's and httpx's own chatter is turned down here.
"""

import json
import logging
import re
import sys
import time
import traceback
from typing import Any

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "action", "color_message"}
_PLAIN = re.compile(r"[^\s\"=\x00-\x1f\x7f]+")
_CHATTY = ("httpx", "httpcore", "openai", "celery.app.trace", "celery.worker.strategy", "asyncio")


class Formatter(logging.Formatter):
    """Formats for one process; a line break inside a value or the words is escaped, so a line is an event."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process.replace(" ", ":")

    def format(self, record: logging.LogRecord) -> str:
        fields = {key: value for key, value in vars(record).items() if key not in _OWN}
        line = " ".join(
            (
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
                record.levelname,
                self._process,
                str(getattr(record, "action", record.name)),
                _one_line(record.getMessage()),
                *(f"{key}={_value(value)}" for key, value in fields.items()),
            )
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
        """Where it was raised and of what type, not what it says: exceptions quote what they were given."""
        lines, error = [], ei[1]
        while error is not None:
            lines += [
                *traceback.format_tb(error.__traceback__),
                f"{type(error).__module__}.{type(error).__qualname__}\n",
            ]
            error = error.__cause__ or error.__context__
        return "".join(lines).rstrip()


def configure(process: str, level: int = logging.INFO) -> None:
    """This process logs as `process` (`front`, `worker chat-fast`) from now on; handlers set before are dropped."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(process))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _one_line(words: str) -> str:
    return words.strip().replace("\r", "\\r").replace("\n", "\\n")
