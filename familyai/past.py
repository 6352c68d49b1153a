"""What of an answer its client has already, when another attempt has to go on with it."""

import msgspec

from familyai.errors import DecodeError

Outputs = tuple[tuple[int, ...], ...]


class Past(msgspec.Struct, frozen=True, array_like=True):
    """`frames`: how many of an answer's frames have arrived, of all attempts. `outputs`: the token ids that came with
    them, grouped as the engine gave them out. An engine that is given the same again makes the same frames of it.
    """

    frames: int = 0
    outputs: Outputs = ()


NOTHING = Past()
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Past)


def encode_past(past: Past) -> bytes:
    return _encoder.encode(past)


def decode_past(data: bytes | None) -> Past:
    """Nothing for none. Raises DecodeError."""
    try:
        return _decoder.decode(data) if data else NOTHING
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not an answer's past: {error}") from error
