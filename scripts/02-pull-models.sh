#!/usr/bin/env bash
# Downloads the models of the thor profile into ~/.cache/huggingface, and the voices that it names into .familyai/voices
# as well; an interrupted download goes on where it stopped.
#
#   scripts/02-pull-models.sh                  every model; the first that fails ends it
#   scripts/02-pull-models.sh --batch          unattended: no progress bars, goes on with the rest after a failure
#   scripts/02-pull-models.sh --model NAME     only this one (a queue, an alias or a model's id); repeatable
#
# PROXY_URL and NO_PROXY are taken from the environment or from .env.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -x .venv/bin/python ]; then
    echo "error: not set up yet; run scripts/01-setup.sh first" >&2
    exit 1
fi
exec .venv/bin/python -m workers.prepare --pull "$@"
