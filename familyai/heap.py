"""Long-lived processes full of imported code, and Python's garbage collector."""

import gc


def settle_heap() -> None:
    """To be called once everything is loaded: what is there by now is never searched for garbage again.

    A full collection otherwise walks every imported object and holds up all streams of the process meanwhile.
    """
    gc.collect()
    gc.freeze()
