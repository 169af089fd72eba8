"""Watches: order, filters, bookmarks, ends, and versions that are too old."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autoctl.api.core import Pod
from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import EventType, Gone
from autoctl.sim.cluster import SimCluster, Timings


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


class Seen:
    """Collects a watch's events in the background."""

    def __init__(self, cluster: SimCluster, **kwargs: Any) -> None:
        self.events: list[tuple[str, str]] = []
        self.objects: list[Any] = []
        self.versions: list[str] = []
        self._kwargs = {"resource_version": "", **kwargs}
        self._resource = self._kwargs.pop("resource", k8s.CONFIGMAPS)
        self.task = asyncio.ensure_future(self._run(cluster))

    async def _run(self, cluster: SimCluster) -> None:
        async for event in cluster.api.watch(self._resource, **self._kwargs):
            name = ""
            if event.object is not None:
                metadata = getattr(event.object, "metadata", None)
                name = metadata.name if metadata else event.object["metadata"]["name"]
            self.events.append((event.type.value, name))
            self.objects.append(event.object)
            self.versions.append(event.resource_version)


async def test_a_watch_reports_changes_after_its_version(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.CONFIGMAPS, config_map("a"), "default")
    listed = await cluster.api.list(k8s.CONFIGMAPS)
    await cluster.api.create(k8s.CONFIGMAPS, config_map("b"), "default")
    seen = Seen(cluster, resource_version=listed.resource_version)
    await cluster.api.patch(k8s.CONFIGMAPS, "a", {"data": {"k": "v"}}, "default")
    await cluster.api.delete(k8s.CONFIGMAPS, "b", "default")
    await asyncio.sleep(1)
    assert seen.events == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
    assert seen.versions == sorted(seen.versions, key=int)
    assert int(seen.versions[0]) > int(listed.resource_version)
    seen.task.cancel()


async def test_a_watch_without_version_starts_with_what_is_there(cluster: SimCluster) -> None:
    await cluster.api.create(k8s.CONFIGMAPS, config_map("b"), "default")
    await cluster.api.create(k8s.CONFIGMAPS, config_map("a"), "default")
    seen = Seen(cluster)
    await asyncio.sleep(1)
    await cluster.api.create(k8s.CONFIGMAPS, config_map("c"), "default")
    await asyncio.sleep(1)
    assert seen.events == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]
    seen.task.cancel()


async def test_objects_enter_and_leave_a_filtered_watch(cluster: SimCluster) -> None:
    seen = Seen(cluster, label_selector="team=x")
    await asyncio.sleep(1)
    await cluster.api.create(k8s.CONFIGMAPS, config_map("a", team="y"), "default")
    for team in ("x", "x", "y", "y"):
        patch = {"metadata": {"labels": {"team": team}}, "data": {"n": str(len(seen.events))}}
        await cluster.api.patch(k8s.CONFIGMAPS, "a", patch, "default")
        await asyncio.sleep(1)
    await cluster.api.delete(k8s.CONFIGMAPS, "a", "default")
    await asyncio.sleep(1)
    assert seen.events == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    # The DELETED of an object that left shows the last state that was inside.
    assert seen.objects[-1]["metadata"]["labels"] == {"team": "x"}
    assert int(seen.objects[-1]["metadata"]["resourceVersion"]) > int(seen.versions[1])
    seen.task.cancel()


async def test_binding_takes_a_pod_out_of_the_watch_of_unbound_pods(cluster: SimCluster) -> None:
    seen = Seen(cluster, resource=k8s.PODS, field_selector="spec.nodeName=", model=Pod)
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}
    await cluster.api.create(k8s.PODS, body, "default")
    await asyncio.sleep(0.05)
    await cluster.api.bind("p", "default", "node-1")
    await asyncio.sleep(0.05)
    assert [e for e in seen.events if e[0] != "MODIFIED"] == [("ADDED", "p"), ("DELETED", "p")]
    assert isinstance(seen.objects[0], Pod)
    seen.task.cancel()


async def test_bookmarks_carry_the_versions_of_other_resources(cluster: SimCluster) -> None:
    seen = Seen(cluster)
    await asyncio.sleep(1)
    made = await cluster.api.create(k8s.NODE_POOLS, {"metadata": {"name": "p"}, "spec": {}})
    await asyncio.sleep(cluster.timings.bookmark_interval + 1)
    assert seen.events == [("BOOKMARK", "")]
    assert int(seen.versions[0]) >= int(made["metadata"]["resourceVersion"])
    seen.task.cancel()


async def test_a_watch_ends_and_goes_on_from_its_last_version(cluster: SimCluster) -> None:
    seen = Seen(cluster)
    await asyncio.sleep(cluster.timings.watch_timeout + 1)
    assert seen.task.done()
    await cluster.api.create(k8s.CONFIGMAPS, config_map("late"), "default")
    again = Seen(cluster, resource_version=seen.versions[-1])
    await asyncio.sleep(1)
    assert again.events == [("ADDED", "late")]
    again.task.cancel()


async def test_old_versions_are_gone(cluster: SimCluster) -> None:
    sim = SimCluster(cluster.clock, timings=Timings(history_window=60))
    listed = await sim.api.list(k8s.CONFIGMAPS)
    for number in range(2000):
        sim.server.create(k8s.CONFIGMAPS, config_map(f"c{number}"), "default")
    await asyncio.sleep(61)
    fresh = await sim.api.create(k8s.CONFIGMAPS, config_map("fresh"), "default")
    with pytest.raises(Gone, match="too old"):
        await anext(
            sim.api.watch(k8s.CONFIGMAPS, resource_version=listed.resource_version).__aiter__()
        )
    seen = Seen(sim, resource_version=str(int(fresh["metadata"]["resourceVersion"]) - 1))
    await asyncio.sleep(1)
    assert seen.events == [("ADDED", "fresh")]
    seen.task.cancel()


async def test_dropped_and_expired_watches(cluster: SimCluster) -> None:
    first = Seen(cluster)
    await asyncio.sleep(1)
    cluster.api.drop_watches()
    await asyncio.sleep(1)
    assert first.task.done()
    listed = await cluster.api.list(k8s.CONFIGMAPS)
    second = Seen(cluster, resource_version=listed.resource_version)
    await asyncio.sleep(1)
    cluster.api.expire_watches()
    await asyncio.sleep(1)
    assert second.task.done()
    with pytest.raises(Gone):
        await Seen(cluster, resource_version=listed.resource_version).task


async def test_many_watchers_see_the_same_order(cluster: SimCluster) -> None:
    watchers = [Seen(cluster) for _ in range(50)]
    await asyncio.sleep(1)
    for number in range(20):
        await cluster.api.create(k8s.CONFIGMAPS, config_map(f"c{number:02}"), "default")
    await asyncio.sleep(1)
    expected = [(EventType.ADDED.value, f"c{number:02}") for number in range(20)]
    assert all(watcher.events == expected for watcher in watchers)
    for watcher in watchers:
        watcher.task.cancel()
