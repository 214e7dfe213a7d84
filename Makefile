# Each target does its own set-up; see .ci/setup.
.PHONY: demo test check setup lock

demo: setup
	.venv/bin/bartizan demo

test: setup
	.venv/bin/python -m pytest

check: setup
	.venv/bin/ruff check .
	.venv/bin/mypy

setup:
	@.ci/setup

# Newer versions of the dependencies: needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --extra dev pyproject.toml -o .ci/requirements.lock
