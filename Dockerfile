# One image for every part: `bartizan VERB`. Bytecode is compiled at build time, since the root is read-only at run time and
# compiling at each start would cost most of a second.
#
# BASE: a Debian with Python 3.11 or newer as `python`.
ARG BASE=python:3.13-slim
FROM ${BASE} AS build
WORKDIR /src
COPY .ci/requirements.lock .ci/requirements.lock
RUN python -m venv /opt/bartizan && /opt/bartizan/bin/pip install --no-cache-dir --require-hashes -r .ci/requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY sidecar sidecar
COPY injector injector
COPY certs certs
RUN /opt/bartizan/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/bartizan/bin/pip uninstall -q -y pytest pytest-trio pytest-timeout hypothesis trustme ruff mypy types-PyYAML hatchling \
    && /opt/bartizan/bin/python -m compileall -q /opt/bartizan

FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends iptables && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/bartizan /opt/bartizan
ENV PATH=/opt/bartizan/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 50000
ENTRYPOINT ["bartizan"]
