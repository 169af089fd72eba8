"""How much EC2 is asked when many NodeClaims come at once, and when nothing happens.

`autoctl bench launch` gives the figures for thousands; `docs/performance.md` has them.
"""

from __future__ import annotations

import pytest

from autoctl.simulate.bench_launch import bench_launch


@pytest.mark.parametrize(
    ("shapes", "fleets"),
    [(16, 16), (160, 40)],
    ids=["equal ones share a request", "all differ"],
)
def test_many_launches_are_few_requests(shapes: int, fleets: int) -> None:
    found = bench_launch(160, shapes=shapes, rest=300)
    assert found["nodes"] == 160
    assert found["createFleet"] <= fleets
    assert found["createFleetBusiestMinute"] <= 60
    assert found["clusterSeconds"] < 90, "nobody waits for a request of his own"
    assert found["throttled"] == {}, "the account's own limits are never met"
    assert 0 < found["requestsAtRestBusiestMinute"] < 30
    assert found["requestsAtRest"].get("CreateTags", 0) == 0


@pytest.mark.parametrize(
    ("shapes", "rest", "message"),
    [(3, 300, "between 1 and 2"), (1, 90, "whole minutes"), (1, 0, "whole minutes")],
)
def test_wrong_numbers_are_refused(shapes: int, rest: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bench_launch(2, shapes=shapes, rest=rest)
