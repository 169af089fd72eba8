"""When nodes have lived long enough, and how many go when a clock made them old at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from disruption_snapshots import snapshot_of_objects
from plan_builders import node, node_pool

from autoctl.api.labels import TERMINATION_TIMESTAMP
from autoctl.api.nodeclaim import MAX_LIFETIME, NodeClaim
from autoctl.api.nodepool import NodePool
from autoctl.controllers.disruption.expiration import (
    FORCE_BEFORE_CAP,
    catch_up_room,
    lifetime_of,
)
from autoctl.controllers.disruption.expiry_controller import (
    FORCE_RETRY_SECONDS,
    STUCK_RETRY_SECONDS,
    ExpirationController,
)
from autoctl.controllers.runtime.controller import Result
from autoctl.controllers.runtime.events import EventRecorder
from autoctl.controllers.runtime.metrics import Metrics
from autoctl.ports.clock import FixedClock
from autoctl.ports.kubernetes import NotFound, Unavailable
from autoctl.state.snapshot import Snapshot

BORN = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def claim(expire_after: str | None = None, grace: str | None = None) -> NodeClaim:
    found, _ = node("a", pool="general")
    found["metadata"]["creationTimestamp"] = BORN.isoformat()
    for field, value in (("expireAfter", expire_after), ("terminationGracePeriod", grace)):
        found["spec"].pop(field, None)
        if value is not None:
            found["spec"][field] = value
    return NodeClaim.from_dict(found)


@pytest.mark.parametrize(
    ("expire_after", "grace", "expires", "must_drain"),
    [
        (None, None, 14 * DAY, 20 * DAY),
        ("336h", "24h", 14 * DAY, 20 * DAY),
        ("336h", "48h", 14 * DAY, 19 * DAY),
        ("20m", None, timedelta(minutes=20), 20 * DAY),
        ("0s", None, timedelta(0), 20 * DAY),
        ("Never", None, None, 20 * DAY),
        ("Never", "72h", None, 18 * DAY),
        ("Never", "600h", None, timedelta(0)),
        ("720h", "0s", 30 * DAY, 21 * DAY),
    ],
)
def test_the_instants_of_a_life(
    expire_after: str | None, grace: str | None, expires: timedelta | None, must_drain: timedelta
) -> None:
    lifetime = lifetime_of(claim(expire_after, grace))
    assert lifetime is not None
    assert lifetime.expires == (None if expires is None else BORN + expires)
    assert lifetime.must_drain == BORN + must_drain
    assert lifetime.cap == BORN + MAX_LIFETIME
    assert lifetime.forced == lifetime.cap - FORCE_BEFORE_CAP
    due = min(t for t in (lifetime.expires, lifetime.must_drain) if t is not None)
    assert not lifetime.expired(due - timedelta(seconds=1))
    assert lifetime.expired(due)


def test_something_is_due_at_every_instant_that_matters_and_never_after_the_cap() -> None:
    lifetime = lifetime_of(claim("336h", "24h"))
    assert lifetime is not None
    now, seen = BORN, []
    while (change := lifetime.next_change(now)) is not None:
        seen.append(change - BORN)
        now = change
    hour = timedelta(hours=1)
    assert seen == [
        *(14 * DAY, 19 * DAY, 20 * DAY, 21 * DAY - hour, 21 * DAY - FORCE_BEFORE_CAP, 21 * DAY),
    ]


def test_a_claim_that_the_server_has_not_created_has_no_life() -> None:
    unborn = claim()
    unborn = unborn.model_copy(
        update={"metadata": unborn.metadata.model_copy(update={"creation_timestamp": None})}
    )
    assert lifetime_of(unborn) is None


def pool(budgets: list[dict[str, Any]]) -> NodePool:
    return NodePool.from_dict(node_pool("general", disruption={"budgets": budgets}))


@pytest.mark.parametrize(
    ("budgets", "leaving", "due", "room"),
    [
        ([], 0, False, 2),  # without budgets a tenth at a time
        ([], 2, True, 0),
        ([{"nodes": "30%"}], 0, False, 6),
        ([{"nodes": "30%"}], 5, False, 1),
        ([{"nodes": "100%"}], 5, False, 15),
        ([{"nodes": "0"}], 0, False, 0),
        ([{"nodes": "0"}], 0, True, 2),  # at the cap a tenth goes whatever budgets say
        ([{"nodes": "0"}], 2, True, 0),
        ([{"nodes": "5"}, {"nodes": "1", "reasons": ["Expired"]}], 0, False, 1),
        ([{"nodes": "0", "reasons": ["Drifted", "Empty"]}], 0, False, 2),
    ],
)
def test_how_many_go_at_once_after_a_jump(
    budgets: list[dict[str, Any]], leaving: int, due: bool, room: int
) -> None:
    assert catch_up_room(pool(budgets), 20, leaving, BORN, due=due) == room


def test_a_single_node_may_go_at_its_cap() -> None:
    assert catch_up_room(pool([{"nodes": "0"}]), 1, 0, BORN, due=True) == 1


class _State:
    """A mirror that shows what it was given, and nothing of what is written."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def claim(self, name: str) -> NodeClaim | None:
        return self._snapshot.node_claims.get(name)

    def pool(self, name: str) -> NodePool | None:
        return self._snapshot.node_pools.get(name)

    def snapshot(self) -> Snapshot:
        return self._snapshot


class _Api:
    """Records deletions; the first `failing` of them fail."""

    def __init__(self, failing: int = 0) -> None:
        self.deleted: list[str] = []
        self.failing = failing

    async def delete(self, _: object, name: str, *, uid: str | None) -> None:
        assert uid
        await asyncio.sleep(0)
        if self.failing:
            self.failing -= 1
            raise Unavailable("try again")
        self.deleted.append(name)


def controller(
    now: datetime, budgets: list[dict[str, Any]], *, skipped: bool, failing: int = 0
) -> tuple[ExpirationController, _Api]:
    """Twenty nodes that lived from `BORN` until `now`."""
    objects = [node_pool("general", disruption={"budgets": budgets})]
    for number in range(20):
        found, machine = node(f"n{number:02d}", pool="general")
        found["metadata"]["creationTimestamp"] = BORN.isoformat()
        found["spec"] |= {"expireAfter": "336h", "terminationGracePeriod": "24h"}
        objects += [found, machine]
    api = _Api(failing)
    unused: Any = None
    metrics = Metrics()
    made: Any = ExpirationController(
        api=cast("Any", api),
        state=cast("Any", _State(replace(snapshot_of_objects(*objects), now=now))),
        clock=FixedClock(now),
        events=EventRecorder(unused, FixedClock(now), metrics=metrics),
        metrics=metrics,
        terminate=unused,
        skipped=lambda _: skipped,
    )
    return made, api


def expire(made: ExpirationController) -> list[Result | BaseException]:
    """All nodes at once, as the workers of the queue do."""

    async def run() -> list[Result | BaseException]:
        names = (f"n{number:02d}" for number in range(20))
        return await asyncio.gather(*map(made.reconcile, names), return_exceptions=True)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("budgets", "skipped", "expected"),
    [
        ([{"nodes": "10%"}], False, 20),  # as upstream: expiry asks no budget
        ([{"nodes": "3", "reasons": ["Expired"]}], False, 3),
        ([{"nodes": "10%"}], True, 2),
        ([{"nodes": "100%"}], True, 20),
        ([{"nodes": "0"}], True, 0),
    ],
)
def test_nodes_that_are_due_together(
    budgets: list[dict[str, Any]], skipped: bool, expected: int
) -> None:
    """Keys are reconciled side by side, before the mirror shows the first deletion."""
    made, api = controller(BORN + 15 * DAY, budgets, skipped=skipped)
    expire(made)
    assert len(api.deleted) == expected
    expire(made)
    assert len(set(api.deleted)) == expected, "the mirror still shows none of them"


def test_a_deletion_that_failed_does_not_stand_in_its_own_way() -> None:
    made, api = controller(BORN + 15 * DAY, [{"nodes": "10%"}], skipped=True, failing=2)
    outcomes = expire(made)
    assert sum(isinstance(o, Unavailable) for o in outcomes) == 2
    assert api.deleted == []
    expire(made)
    assert len(api.deleted) == 2


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (None, False),
        ("2026-01-25T00:00:00Z", True),  # earlier than the cap: somebody was in more of a hurry
        ("2026-02-25T00:00:00Z", False),
        ("2026-01-25T00:00:00", False),  # of no zone
        ("soon", False),
        ("", False),
    ],
)
def test_near_the_cap_the_drain_ends_before_it_whatever_somebody_wrote(
    written: str | None, kept: bool
) -> None:
    given = claim("Never", "24h")
    if written is not None:
        given.metadata.annotations[TERMINATION_TIMESTAMP] = written
    patches: list[Any] = []

    class Api:
        async def patch(self, _: object, name: str, body: Any) -> Any:
            assert name == "a"
            patches.append(body)
            return given.to_dict()

        async def delete(self, _: object, name: str, *, uid: str | None) -> None:
            raise NotFound(name)

    state = snapshot_of_objects(node_pool("general"), node("a", pool="general"))
    state = replace(state, node_claims={"a": given}, now=BORN + 20 * DAY)
    unused: Any = None
    made = ExpirationController(
        api=cast("Any", Api()),
        state=cast("Any", _State(state)),
        clock=FixedClock(BORN + 20 * DAY),
        events=EventRecorder(unused, FixedClock(BORN), metrics=Metrics()),
        metrics=Metrics(),
        terminate=unused,
    )
    asyncio.run(made.reconcile("a"))
    forced = (BORN + 21 * DAY - FORCE_BEFORE_CAP).strftime("%Y-%m-%dT%H:%M:%SZ")
    expected = [] if kept else [{"metadata": {"annotations": {TERMINATION_TIMESTAMP: forced}}}]
    assert patches == expected


def test_an_instance_ended_at_its_cap_is_counted_once_though_a_finalizer_keeps_its_objects() -> (
    None
):
    body = claim("Never", "24h").to_dict()
    body["status"]["providerID"] = "aws:///us-west-2a/i-1"
    body["metadata"]["deletionTimestamp"] = (BORN + 20 * DAY).isoformat()
    given = NodeClaim.from_dict(body)
    ended: list[str] = []
    metrics = Metrics()
    unused: Any = None

    async def terminate(provider_id: str) -> None:
        ended.append(provider_id)
        if len(ended) == 1:
            raise Unavailable("throttled")

    def at(now: datetime) -> ExpirationController:
        state = snapshot_of_objects(node_pool("general"), node("a", pool="general"))
        made.state = cast("Any", _State(replace(state, node_claims={"a": given}, now=now)))
        made.clock = FixedClock(now)
        return made

    made = ExpirationController(
        api=cast("Any", _Api()),
        state=unused,
        clock=unused,
        events=EventRecorder(unused, FixedClock(BORN), metrics=Metrics()),
        metrics=metrics,
        terminate=terminate,
    )
    cap = BORN + 21 * DAY
    with pytest.raises(Unavailable):
        asyncio.run(at(cap - FORCE_BEFORE_CAP).reconcile("a"))
    waits = [
        asyncio.run(at(now).reconcile("a")).requeue_after
        for now in (cap - timedelta(minutes=14), cap + timedelta(days=2))
    ]
    assert waits == [FORCE_RETRY_SECONDS, STUCK_RETRY_SECONDS]
    assert ended == ["aws:///us-west-2a/i-1"] * 3
    name = "autoctl_nodeclaims_lifetime_cap_forced_total"
    assert metrics.registry.get_sample_value(name, {"nodepool": "general"}) == 1
