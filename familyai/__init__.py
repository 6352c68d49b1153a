"""The contract that the front and the workers share: what a job is, how replies travel, where Redis keeps what."""

__version__ = "0.1.0"
