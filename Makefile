# Each target does its own set-up; see .ci/setup.
.PHONY: demo test e2e check bench fuzz chart setup lock

demo: setup
	.venv/bin/bartizan demo

test: setup
	.venv/bin/python -m pytest

# Clients and servers that others wrote, through two sidecars; h2spec, sslyze, slowhttptest; and a real Kubernetes of one node, made here.
# KUBECONFIG=... make e2e takes that cluster instead, with BARTIZAN_IMAGE and APP_IMAGE from where it gets its images.
e2e:
	@.ci/setup e2e
	.venv/bin/python -m tests.e2e.kubernetes.images
	.venv/bin/python -m pytest -m foreign tests/e2e

check: setup
	.venv/bin/ruff check .
	.venv/bin/mypy

# On a quiet machine; an hour, and ten minutes the first time. Writes the table in the README and the plot beside it.
# A part, which writes nothing: make bench BENCH="--only a --rounds 1"
BENCH = --readme README.md
bench:
	@.ci/setup bench
	.venv/bin/bartizan bench $(BENCH)

# Searches for inputs that break a parser's promise: make fuzz TARGET=chunked_body SECONDS=600
TARGET = all
SECONDS = 60
fuzz: setup
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[fuzz]'
	.venv/bin/python -m tests.fuzz.run $(TARGET) --seconds $(SECONDS)

# The Helm chart, of what `bartizan install` is made of.
chart: setup
	.venv/bin/python -m injector.manifests.chart chart/bartizan

setup:
	@.ci/setup

# Newer versions of the dependencies: needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --extra dev pyproject.toml -o .ci/requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header .ci/requirements-e2e.in -o .ci/requirements-e2e.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header .ci/requirements-bench.in -o .ci/requirements-bench.lock
