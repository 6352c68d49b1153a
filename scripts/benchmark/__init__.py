"""The parts of `scripts/bench.py`: what the way through the queue costs, against the same engine asked directly.

setup → client → questions → load → figures → report; `enqueue` is a comparison of its own.
"""
