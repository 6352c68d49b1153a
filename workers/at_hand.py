"""The job at hand, for engines: what an earlier attempt said of its answer already, and when it was asked.

An engine that can go on with an answer says the past again, fast, and then goes on: frames that its client has are not
sent twice (`workers.exchange`). One that cannot is never asked to (`Job.continues`).
"""

from contextvars import ContextVar

import msgspec

from familyai.past import NOTHING, Past


class AtHand(msgspec.Struct, frozen=True):
    """`created_s`: the Unix time that an answer's `created` shall say, in every attempt."""

    created_s: int = 0
    past: Past = NOTHING


current: ContextVar[AtHand | None] = ContextVar("at_hand", default=None)
