# syntax=docker/dockerfile:1
# For builds that must not change: --build-arg PYTHON=3.11-slim-bookworm@sha256:… (a digest of yours)
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src
RUN pip install uv==0.13.8 && uv venv /opt/autoctl
# The lock holds the versions; what the operator needs of them is in pyproject.toml.
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY autoctl ./autoctl
RUN uv pip install --python /opt/autoctl/bin/python --compile-bytecode \
      --constraint requirements.lock .

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="autoctl" \
      org.opencontainers.image.description="An open-source EKS Auto Mode" \
      org.opencontainers.image.licenses="Apache-2.0"
# Two malloc arenas keep a process with a few threads small; nothing is written beside /tmp.
ENV PATH=/opt/autoctl/bin:$PATH \
    HOME=/tmp \
    MALLOC_ARENA_MAX=2 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/autoctl /opt/autoctl
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080 8081
ENTRYPOINT ["autoctl"]
CMD ["run"]
