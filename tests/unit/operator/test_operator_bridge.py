"""kopf as it is used here: it watches, writes nothing, and tells which object changed."""

from __future__ import annotations

import asyncio
import random
from itertools import islice

import kopf
import pytest

from autoctl.kube.config import ConnectionConfig
from autoctl.kube.credentials import FixedCredentials
from autoctl.operator.kopf_bridge import KopfBridge, kopf_settings
from autoctl.ports.kubernetes import NODE_POOLS, PODS, Resource


def bridge(told: list[tuple[Resource, str | None, str]]) -> KopfBridge:
    config = ConnectionConfig(
        server="https://api:6443", ca="PEM", credentials=FixedCredentials.token("t0k")
    )
    return KopfBridge(
        config,
        [PODS, NODE_POOLS],
        lambda *changed: told.append(changed),
        rng=random.Random(1),
    )


def test_kopf_writes_nothing_and_sees_unbound_pods_alone() -> None:
    settings = kopf_settings()
    assert settings.watching.field_selectors["pods"] == "spec.nodeName="
    assert not settings.posting.enabled
    assert settings.persistence.diffbase_storage.build(body={"spec": {"a": 1}}) == {}
    assert settings.persistence.progress_storage.fetch(key="k", body={}) is None
    essence = {"spec": {}}
    assert settings.persistence.progress_storage.clear(essence=essence) is essence


def test_kopf_tries_for_ever_and_afresh_for_each_request() -> None:
    backoffs = kopf_settings().networking.error_backoffs
    assert list(islice(iter(backoffs), 9)) == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert next(iter(backoffs)) == 1


async def test_a_handler_tells_the_object_in_the_loop_that_started_the_bridge() -> None:
    told: list[tuple[Resource, str | None, str]] = []
    one = bridge(told)
    one._home = asyncio.get_running_loop()
    await one._handler(PODS)(name="p", namespace="ns", body={}, type="ADDED")
    await one._handler(NODE_POOLS)(name="x", namespace=None, body={}, type=None)
    await asyncio.sleep(0)
    assert told == [(PODS, "ns", "p"), (NODE_POOLS, None, "x")]


async def test_kopf_logs_in_with_the_operators_credentials() -> None:
    info = await bridge([])._login()
    assert (info.server, info.ca_data, info.scheme, info.token) == (
        *("https://api:6443", "PEM", "Bearer", "t0k"),
    )
    assert info.expiration is None


async def test_kopf_is_started_again_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    async def operator(**options: object) -> None:
        runs.append(options)
        raise RuntimeError("WatchingError")

    monkeypatch.setattr(kopf, "operator", operator)
    monkeypatch.setattr("autoctl.operator.kopf_bridge._FIRST_PAUSE", 0.001)
    one = bridge([])
    one.start()
    for _ in range(500):
        if len(runs) > 2:
            break
        await asyncio.sleep(0.01)
    await one.stop()
    assert len(runs) > 2
    assert one.check() is not None
