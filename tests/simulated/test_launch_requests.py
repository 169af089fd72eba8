"""How much EC2 is asked when many NodeClaims come at once, and when nothing happens.

`autoctl bench launch` gives the figures for thousands; `docs/performance.md` has them.
"""

from __future__ import annotations

import pytest

from autoctl.simulate.bench_launch import bench_launch


def test_many_launches_are_few_requests() -> None:
    found = bench_launch(160, shapes=16)
    assert found["nodes"] == 160
    assert found["createFleet"] == 16, "equal NodeClaims share a request"
    assert found["createFleetBusiestMinute"] <= 60
    assert found["throttled"] == {}, "the account's own limits are never met"
    assert 0 < found["requestsAtRestBusiestMinute"] < 30
    assert found["requestsAtRest"].get("CreateTags", 0) == 0


def test_shapes_are_no_more_than_claims() -> None:
    with pytest.raises(ValueError, match="between 1 and 2"):
        bench_launch(2, shapes=3)
