"""What of an answer its client has already, when another attempt has to go on with it."""

import msgspec

Outputs = tuple[tuple[int, ...], ...]


class Past(msgspec.Struct, frozen=True, array_like=True):
    """`frames`: how many of an answer's frames have arrived, of all attempts. `outputs`: the token ids that came with
    them, grouped as the engine gave them out. An engine that is given the same again makes the same frames of it.
    """

    frames: int = 0
    outputs: Outputs = ()


NOTHING = Past()
