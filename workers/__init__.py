"""Celery workers: an engine, its slots, its life and death. A worker knows one queue, one engine and no routes."""
