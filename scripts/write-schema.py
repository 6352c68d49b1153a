#!/usr/bin/env python3
"""Writes docs/queues.schema.json anew from the models in familyai/catalogue.py; a test says when that is due."""

import json
from pathlib import Path

from familyai.catalogue import catalogue_schema

TARGET = Path(__file__).resolve().parent.parent / "docs" / "queues.schema.json"


def main() -> None:
    TARGET.write_text(json.dumps(catalogue_schema(), indent=2) + "\n", encoding="utf-8")
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
