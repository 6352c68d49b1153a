# FamilyAI in two commands: `make up` and `make test`. Variables given to make reach the programs: `make up FAMILYAI_PORT=8090`.

.DEFAULT_GOAL := help
.PHONY: help up down setup setup-dev test test-fast check format lock chaos bench bench-fair bench-speech eval-routing \
	train-routing

BIN := .venv/bin
ARGS :=
SIDE_BY_SIDE := --numprocesses 3
UPGRADE :=
COMPILE := uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --no-emit-package torch \
	--generate-hashes --no-annotate --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

up: setup ## Set up and run FamilyAI; ARGS="--detach" to leave it running
	@$(BIN)/familyai up $(ARGS)

down: ## Stop what `make up` started
	@if [ -x $(BIN)/familyai ]; then $(BIN)/familyai down; else echo "nothing to stop: not set up yet"; fi

setup: ## Set up .venv and the model, without running anything
	@scripts/01-setup.sh

setup-dev:
	@scripts/01-setup.sh --dev

test: setup-dev ## Set up and run every test, the real engine's too; ARGS="-k words" to choose
	$(BIN)/python -m pytest $(or $(ARGS),$(SIDE_BY_SIDE))

test-fast: setup-dev ## Every test that needs no real engine
	$(BIN)/python -m pytest -m 'not real and not long' $(or $(ARGS),$(SIDE_BY_SIDE))

check: setup-dev ## Format, lint, types, import directions, shell scripts, YAML, known vulnerabilities
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck scripts/*.sh .ci/run
	$(BIN)/yamllint --strict .
	$(BIN)/python scripts/audit.py

format: setup-dev ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## Pin what pyproject.toml asks for, keeping pins that still fit; UPGRADE=1 for the newest. Needs uv
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	$(COMPILE) locks/build-tools.in --extra embedded --output-file locks/embedded.txt
	$(COMPILE) --extra dev --constraints locks/embedded.txt --output-file locks/dev.txt \
		$$(sed -n 's/^\([A-Za-z0-9._-]*\)==.*/--no-emit-package \1/p' locks/embedded.txt)

chaos: setup-dev ## Kill workers, fronts and the broker under load, and see that nothing is lost; ARGS="--kills 10 --no-real"
	$(BIN)/python scripts/chaos.py $(ARGS)

bench: setup-dev ## Measure what the path through the queue adds, with the echo engine
	$(BIN)/python scripts/bench.py $(ARGS)

bench-fair: setup-dev ## Measure how fair the queue is, against FIFO and round robin
	$(BIN)/python scripts/bench_fair.py $(ARGS)

bench-speech: setup-dev ## Measure how fast the embedded Whisper hears
	ORT_DISABLE_TELEMETRY=1 $(BIN)/python scripts/bench_speech.py $(ARGS)

eval-routing: setup-dev ## Examine the router on requests it never saw, beside keywords and LiteLLM; ARGS="--errors"
	$(BIN)/python scripts/eval_routing.py $(ARGS)

train-routing: setup-dev ## Train the router anew on the labelled requests; ARGS="--try" only cross-validates
	$(BIN)/python scripts/train_routing.py $(ARGS)
