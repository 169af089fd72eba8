"""Whole worlds in virtual time: cluster, cloud and the operator's own controllers."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "simulated" in item.path.parts:
            item.add_marker(pytest.mark.looptime)
