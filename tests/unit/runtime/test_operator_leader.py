"""Leader election: the state machine, and keepers that fight over one lease in virtual time."""

from __future__ import annotations

import asyncio
import copy
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from autoctl.operator.leader import LeaseElector, LeaseKeeper, LeaseTerms, NotLeadingError
from autoctl.ports.clock import LoopClock
from autoctl.ports.kubernetes import AlreadyExists, Conflict, NotFound, Object, Unavailable

START = datetime(2026, 1, 5, tzinfo=UTC)


def default_terms(identity: str) -> LeaseTerms:
    return LeaseTerms("autoctl", "kube-system", identity)


def terms(identity: str) -> LeaseTerms:
    return LeaseTerms("autoctl", "kube-system", identity, 15, 10, 2)


class Server:
    """One Lease with resource versions; `down` makes a client's requests fail, `hang` stall."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.version = 0
        self.down: set[str] = set()
        self.hang: set[str] = set()
        self.late: list[str] = []
        """Whose renewals did not succeed at the first try."""

    def client(self, identity: str) -> Any:
        server = self

        class Client:
            async def _reach(self) -> None:
                if identity in server.hang:
                    await asyncio.Event().wait()
                if identity in server.down:
                    raise Unavailable("no route")

            async def get(self, *_: Any) -> Object:
                await self._reach()
                if server.lease is None:
                    raise NotFound("no lease")
                return copy.deepcopy(server.lease)

            async def create(self, _: Any, body: Object, *__: Any) -> Object:
                await self._reach()
                if server.lease is not None:
                    raise AlreadyExists("there is one")
                return server.store(body)

            async def replace(self, _: Any, body: Object, *__: Any) -> Object:
                await self._reach()
                assert server.lease is not None
                if body["metadata"]["resourceVersion"] != str(server.version):
                    raise Conflict("stale")
                return server.store(body)

        return Client()

    def store(self, body: Object) -> Object:
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)


class TestElector:
    """The state machine alone."""

    def test_a_missing_lease_is_created(self) -> None:
        elector = LeaseElector(terms("me"))
        proposal = elector.proposal(None, 0, START)
        assert proposal is not None
        assert proposal["metadata"] == {"name": "autoctl", "namespace": "kube-system"}
        assert proposal["spec"] == {
            "holderIdentity": "me",
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-01-05T00:00:00.000000Z",
            "renewTime": "2026-01-05T00:00:00.000000Z",
            "leaseTransitions": 0,
        }
        assert not elector.leading(0), "only the server's yes makes a leader"
        elector.accepted(proposal, 0)
        assert elector.leading(9.9)
        assert not elector.leading(10)

    def test_anothers_lease_is_respected_from_when_it_was_first_seen(self) -> None:
        # Its renewTime lies years back: the other's clock is none of our business.
        lease = {
            "metadata": {"resourceVersion": "1"},
            "spec": {
                "holderIdentity": "other",
                "leaseDurationSeconds": 15,
                "renewTime": "1999-01-01T00:00:00.000000Z",
                "leaseTransitions": 4,
            },
        }
        elector = LeaseElector(terms("me"))
        assert elector.proposal(lease, 100, START) is None
        assert elector.proposal(lease, 114.9, START) is None
        taken = elector.proposal(lease, 115, START)
        assert taken is not None
        assert taken["metadata"]["resourceVersion"] == "1", "the write must be optimistic"
        assert taken["spec"]["leaseTransitions"] == 5

    def test_a_renewal_of_the_other_starts_its_time_anew(self) -> None:
        elector = LeaseElector(terms("me"))
        spec = {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "1"}
        assert elector.proposal({"metadata": {}, "spec": spec}, 100, START) is None
        renewed = {"metadata": {}, "spec": spec | {"renewTime": "2"}}
        assert elector.proposal(renewed, 114, START) is None
        assert elector.proposal(renewed, 128.9, START) is None
        assert elector.proposal(renewed, 129, START) is not None

    def test_a_released_lease_is_taken_at_once(self) -> None:
        lease = {"metadata": {}, "spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
        assert LeaseElector(terms("me")).proposal(lease, 0, START) is not None

    def test_renewing_keeps_the_time_of_acquisition_and_the_transitions(self) -> None:
        lease = {
            "metadata": {},
            "spec": {
                "holderIdentity": "me",
                "leaseDurationSeconds": 15,
                "acquireTime": "2025-01-01T00:00:00.000000Z",
                "leaseTransitions": 3,
            },
        }
        renewed = LeaseElector(terms("me")).proposal(lease, 0, START)
        assert renewed is not None
        assert renewed["spec"]["acquireTime"] == "2025-01-01T00:00:00.000000Z"
        assert renewed["spec"]["leaseTransitions"] == 3

    def test_seeing_another_holder_ends_leadership_at_once(self) -> None:
        elector = LeaseElector(terms("me"))
        mine = elector.proposal(None, 0, START)
        assert mine is not None
        elector.accepted(mine, 0)
        stolen = {"metadata": {}, "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15}}
        assert elector.proposal(stolen, 1, START) is None
        assert not elector.leading(1)

    @pytest.mark.parametrize("times", [(10, 10, 2), (15, 2, 2), (15, 10, 0), (15.5, 10, 2)])
    def test_terms_that_cannot_work_are_refused(self, times: tuple[float, float, float]) -> None:
        with pytest.raises(ValueError, match="lease duration"):
            LeaseTerms("a", "b", "c", *times)


@pytest.mark.looptime
class TestKeeper:
    """Keepers and a server."""

    def start(
        self, server: Server, identity: str, make: Any = terms
    ) -> tuple[LeaseKeeper, asyncio.Task[None]]:
        keeper = LeaseKeeper(
            server.client(identity),
            make(identity),
            LoopClock(START),
            rng=random.Random(identity),
            on_late=lambda: server.late.append(identity),
        )
        return keeper, asyncio.create_task(keeper.run())

    @pytest.mark.parametrize("delay", [n / 4 for n in range(12)])
    async def test_one_leads_the_other_waits_and_takes_over_after_a_crash(
        self, delay: float
    ) -> None:
        server = Server()
        first, task = self.start(server, "a", default_terms)
        await first.elected.wait()
        second, _ = self.start(server, "b", default_terms)
        await asyncio.sleep(300 + delay)
        assert first.leading()
        assert not second.leading()
        with pytest.raises(NotLeadingError):
            second.check()
        task.cancel()
        crashed = asyncio.get_running_loop().time()
        await second.elected.wait()
        assert asyncio.get_running_loop().time() - crashed < 15
        assert server.lease is not None
        assert server.lease["spec"]["leaseTransitions"] == 1

    async def test_a_released_lease_changes_hands_within_a_retry(self) -> None:
        server = Server()
        first, task = self.start(server, "a")
        await first.elected.wait()
        second, _ = self.start(server, "b")
        await asyncio.sleep(10)
        task.cancel()
        await first.release()
        released = asyncio.get_running_loop().time()
        assert not first.leading()
        await second.elected.wait()
        assert asyncio.get_running_loop().time() - released <= 2.4

    @pytest.mark.parametrize("trouble", ["down", "hang"])
    async def test_a_leader_cut_off_stops_before_the_next_one_starts(self, trouble: str) -> None:
        server = Server()
        first, task = self.start(server, "a")
        await first.elected.wait()
        second, _ = self.start(server, "b")
        await asyncio.sleep(30)
        getattr(server, trouble).add("a")
        cut = asyncio.get_running_loop().time()
        await task
        stopped = asyncio.get_running_loop().time()
        assert stopped - cut <= 10
        with pytest.raises(NotLeadingError):
            first.check()
        assert not second.leading()
        await second.elected.wait()
        assert asyncio.get_running_loop().time() > stopped

    async def test_short_trouble_costs_nothing(self) -> None:
        server = Server()
        keeper, task = self.start(server, "a")
        await keeper.elected.wait()
        await asyncio.sleep(30)
        assert server.late == []
        for _ in range(5):
            server.down.add("a")
            await asyncio.sleep(6)
            assert keeper.leading()
            server.down.clear()
            await asyncio.sleep(10)
        assert not task.done()
        assert server.late == ["a"] * 5, "counted once each, however often it is tried"

    async def test_who_does_not_lead_renews_nothing_late(self) -> None:
        server = Server()
        server.down.add("a")
        self.start(server, "a")
        await asyncio.sleep(30)
        assert server.late == []

    @pytest.mark.parametrize("seed", range(6))
    async def test_never_two_leaders_whatever_fails(self, seed: int) -> None:
        rng = random.Random(seed)
        server = Server()
        names = ["a", "b", "c"]
        alive = {name: self.start(server, name) for name in names}
        led: set[str] = set()
        for _ in range(250):
            await asyncio.sleep(rng.random() * 3)
            leaders = [name for name, (keeper, _) in alive.items() if keeper.leading()]
            led.update(leaders)
            assert len(leaders) <= 1
            victim = rng.choice(names)
            dice = rng.random()
            if dice < 0.1:
                server.down.symmetric_difference_update({victim})
            elif dice < 0.15:
                server.hang.symmetric_difference_update({victim})
            for name, (_, task) in list(alive.items()):
                if task.done():
                    alive[name] = self.start(server, name)
        for _, task in alive.values():
            task.cancel()
        assert len(led) > 1, "the trouble was too small to prove anything"
