"""The scheduling benchmark plans what it says."""

from autoctl.simulate.bench_schedule import bench_schedule


def test_a_pod_beside_nodes_that_are_there_takes_room_on_one() -> None:
    found = bench_schedule(1, instance_types=8, nodes=20)
    assert (found["existingNodes"], found["nodes"], found["unschedulable"]) == (20, 0, 0)


def test_without_nodes_some_are_bought() -> None:
    found = bench_schedule(20, instance_types=8)
    assert found["existingNodes"] == 0
    assert found["nodes"] > 0
    assert found["usdPerHour"] >= found["lowerBound"] > 0
