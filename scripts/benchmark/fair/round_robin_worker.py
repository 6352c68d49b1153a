"""A worker of the product whose lanes take turns instead: kombu's own `round_robin_cycle`. For comparison only."""

import runpy

from kombu.utils.scheduling import round_robin_cycle

from workers import consumer
from workers.turns import Turns


def in_turns(_turns: Turns) -> round_robin_cycle:
    return round_robin_cycle()


if __name__ == "__main__":
    consumer.LaneCycle = in_turns  # type: ignore[assignment,misc]
    runpy.run_module("workers", run_name="__main__", alter_sys=True)
