"""The parts of `scripts/bench_fair.py`: one family on one model, served first come first served, in turns, and fairly.

variants → crowd → figures → scenarios, forecasts → report
"""
