# Everything a newcomer, a developer or CI runs. `make help` lists the targets.
#
# Needs git, make and a Python of at least 3.11 (PYTHON=... chooses one); everything else goes into
# .venv, at the versions and hashes of requirements.lock. Nothing here needs root or Docker.

.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready
FUZZ_READY := $(VENV)/.fuzz-ready
MUTATE_READY := $(VENV)/.mutate-ready
FUZZ_SECONDS ?= 60
REQUESTS ?= 20000
SIZE ?= 10000000
MINUTES ?= 30
SECONDS ?= 30
PYTEST_ARGS ?= -n 2
PORT ?= 8000

# The first Python that is new enough and can make a virtual environment.
PYTHON ?= $(shell for candidate in python3.11 python3.12 python3.13 python3.14 python3; do \
	if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
		>/dev/null 2>&1; then echo "$$candidate"; break; fi; done)

.PHONY: help
help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: setup
setup: $(READY) ## Make .venv as requirements.lock says.

$(READY): requirements.lock pyproject.toml verifier/pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with venv and pip found: install one, or" \
		"say which: make PYTHON=/path/to/python" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --editable . --editable ./verifier
	@touch $@

.PHONY: run
run: $(READY) ## Start everything: PostgreSQL, tables, a sample bank, the API on 127.0.0.1:8000.
	$(BIN)/ledger serve --demo --port $(PORT)

.PHONY: stop
stop: $(READY) ## Stop the embedded PostgreSQL.
	$(BIN)/ledger stop

.PHONY: test
test: lint ## Check and test everything (PYTEST_ARGS="-n 2" chooses workers and tests).
	$(BIN)/pytest $(PYTEST_ARGS)

.PHONY: lint
lint: $(READY) ## Style, format, types, and which module may import which.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: audit
audit: $(READY) ## Let bandit look for what is dangerous; each finding is gone, or explained in place.
	$(BIN)/python -m tests.security.audit

.PHONY: sbom
sbom: $(READY) ## Write build/sbom.cdx.json: what the lock file installs, for CycloneDX tools.
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml \
		--output-reproducible --sv 1.6 --output-file build/sbom.cdx.json

.PHONY: fuzz
fuzz: $(FUZZ_READY) ## Feed every parser what is nearly good, FUZZ_SECONDS each (60), guided by coverage.
	$(BIN)/python -m tests.security.fuzz $(FUZZ_SECONDS)

.PHONY: fuzz-api
fuzz-api: $(READY) ## Send REQUESTS (20000) to every route as each role; no answer may surprise.
	$(BIN)/python -m tests.security.fuzz_api $(REQUESTS)

.PHONY: faults
faults: $(READY) ## Strike servers and database in RUNS (200) ways from SEED on, JOBS (2) at once; docs/faults.md.
	$(BIN)/python -m tests.faults --runs $(or $(RUNS),200) --seed $(or $(SEED),1) \
		--jobs $(or $(JOBS),2) --json build/faults.jsonl --table docs/faults.md

.PHONY: simulate
simulate: $(READY) ## Simulate SEEDS (100000) worlds of STEPS (1500) steps from FIRST (0) on, for SECONDS (60) at most, JOBS (2) at once.
	$(BIN)/python -m tests.simulation --first $(or $(FIRST),0) --seeds $(or $(SEEDS),100000) \
		--steps $(or $(STEPS),1500) --seconds $(or $(SECONDS),60) --jobs $(or $(JOBS),2)

.PHONY: mutants
mutants: $(READY) ## Put each deliberate bug into the servers: a fault run must find it; docs/faults.md.
	$(BIN)/python -m tests.faults.mutations --jobs $(or $(JOBS),1) --seed $(or $(SEED),1) \
		--json build/mutants.jsonl --table docs/faults.md

.PHONY: mutate
mutate: $(MUTATE_READY) ## Change the rules a little, thousands of times: a test must fail (MUTATE="money holds": these only).
	$(BIN)/python -m tests.mutation $(MUTATE)

.PHONY: format
format: $(READY) ## Format the code, and mend what ruff can mend.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: bench
bench: $(BENCH_READY) ## Measure, at most 10 minutes (BENCH=quick: 3); benchmarks/README.md explains.
	$(BIN)/python -m benchmarks

.PHONY: bench-growth
bench-growth: $(BENCH_READY) ## The same on a small log and on one of SIZE events (10000000).
	$(BIN)/python -m benchmarks --growth $(SIZE)

.PHONY: soak
soak: $(BENCH_READY) ## Offer 70 % of this machine's capacity for MINUTES (30); memory, lag, errors.
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES)

.PHONY: overload
overload: $(BENCH_READY) ## Offer three times the capacity for SECONDS (30); refusals and recovery.
	$(BIN)/python -m benchmarks.soak --overload $(SECONDS)

.PHONY: bench-profile
bench-profile: $(BENCH_READY) ## Say where each microsecond goes, on every hot path.
	$(BIN)/python -m benchmarks --profile

# The fuzzer is not made for every system: without it the target says so.
$(FUZZ_READY): $(READY)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		--editable '.[fuzz]'
	@touch $@

$(MUTATE_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		--editable '.[mutate]'
	@touch $@

# What is only run beside the ledger may be missing: the benchmarks say so and go on.
$(BENCH_READY): $(READY)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		--editable '.[bench]'
	@touch $@

.PHONY: docs-tables
docs-tables: $(READY) ## Write the tables of docs/ that are made from the code.
	$(BIN)/python -m tests.docs.tables

.PHONY: lock
lock: ## Choose the newest allowed versions and write requirements.lock (needs uv).
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--upgrade --extra dev --quiet --output-file requirements.lock pyproject.toml

.PHONY: clean
clean: ## Remove .venv and what the tools left; the database stays (make stop ends its server).
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
