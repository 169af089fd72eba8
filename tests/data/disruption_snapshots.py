"""Snapshots for tests of disruption, from the objects of the plan tests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from plan_builders import FAKE6, NOW

from autoctl.catalog.file import parse_catalog
from autoctl.state.manifests import Document
from autoctl.state.offline import snapshot_of
from autoctl.state.snapshot import Snapshot


def snapshot_of_objects(*objects: Any) -> Snapshot:
    """The snapshot of manifests, on the fake provider's types."""
    flat = [o for entry in objects for o in (entry if isinstance(entry, list) else [entry])]
    return snapshot_of(
        [Document("test", i, o) for i, o in enumerate(flat, start=1)],
        now=datetime.fromisoformat(NOW),
        catalog=parse_catalog({"instanceTypes": FAKE6}),
        assume_node_class=True,
    ).snapshot
