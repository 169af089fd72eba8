"""Whole worlds in virtual time: cluster, cloud and the operator's own controllers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "simulated" in item.path.parts:
            item.add_marker(pytest.mark.looptime)


@pytest.fixture(autouse=True, scope="session")
def _plain_logs() -> Iterator[None]:
    """Worlds are full of faults: tracebacks with all their values would take longer than they."""
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])
    yield
    structlog.reset_defaults()
