"""Frames: an engine's ASGI response events, numbered, on their way back.

An answer is Start, any number of Body, then End; or Failed at any point, and nothing after it. `seq` counts from 0
without a gap within one attempt. A batch is all frames that were ready together for one front process.
"""

from itertools import islice

import msgspec

from familyai.errors import DecodeError
from familyai.past import Outputs

FRAME_VERSION = 1
NO_SEQ = -1
"""The number of a Failed that no worker sent: the job was taken back by a person."""


class Tokens(msgspec.Struct, frozen=True, array_like=True):
    """Out-of-band facts for charging and recovery; the client's bytes carry none of it.

    `prompt` counts the tokens of the prompt (on the first frame that knows it), `ids` are the tokens generated since
    the last frame that carried any, one tuple per choice index. `sizes` says how many of choice 0's came together from
    the engine, where it gave out several groups: some make no frame, as those that a parser holds back.
    """

    prompt: int = 0
    ids: tuple[tuple[int, ...], ...] = ()
    sizes: tuple[int, ...] = ()

    @property
    def outputs(self) -> Outputs:
        """The ids of choice 0, grouped as the engine gave them out."""
        if not self.ids:
            return ()
        ids = iter(self.ids[0])
        return tuple(tuple(islice(ids, size)) for size in self.sizes or (len(self.ids[0]),))

    @property
    def generated(self) -> int:
        return sum(len(choice) for choice in self.ids)


class Start(msgspec.Struct, frozen=True, array_like=True, tag=0):
    job_id: str
    attempt: int
    seq: int
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    worker: str
    queue_wait_s: float


class Body(msgspec.Struct, frozen=True, array_like=True, tag=1):
    job_id: str
    attempt: int
    seq: int
    data: bytes
    tokens: Tokens | None = None


class End(msgspec.Struct, frozen=True, array_like=True, tag=2):
    job_id: str
    attempt: int
    seq: int
    tokens: Tokens | None = None


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=3):
    job_id: str
    attempt: int
    seq: int
    code: str
    message: str


Frame = Start | Body | End | Failed


class _Batch(msgspec.Struct, frozen=True, array_like=True):
    version: int
    frames: tuple[Frame, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Batch)


def encode_frames(frames: tuple[Frame, ...]) -> bytes:
    return _encoder.encode(_Batch(FRAME_VERSION, frames))


def decode_frames(data: bytes) -> tuple[Frame, ...]:
    """Raises DecodeError for bytes that are no batch of this version."""
    try:
        batch = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a batch of frames: {error}") from error
    if batch.version != FRAME_VERSION:
        raise DecodeError(f"frames have version {batch.version}, this process reads {FRAME_VERSION}")
    return batch.frames
