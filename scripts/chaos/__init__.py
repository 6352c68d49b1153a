"""The parts of `scripts/chaos.py`: the real stack under load while its processes are killed, and what became of it.

plan and questions → clients, household → transcript → verdicts → aftermath → report; `run` puts them together.
"""
