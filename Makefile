# Each target does its own set-up; see .ci/setup.
.PHONY: demo test check bench setup lock

demo: setup
	.venv/bin/bartizan demo

test: setup
	.venv/bin/python -m pytest

check: setup
	.venv/bin/ruff check .
	.venv/bin/mypy

# On a quiet machine; a quarter of an hour. Options: make bench BENCH="--only http1 --rounds 1"
bench:
	@.ci/setup bench
	.venv/bin/bartizan bench $(BENCH)

setup:
	@.ci/setup

# Newer versions of the dependencies: needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --extra dev pyproject.toml -o .ci/requirements.lock
