"""Leader election by a Lease: who may write.

`LeaseElector` is the state machine, without I/O or clock: what is on the server and what time it is
go in, what to write comes out. `LeaseKeeper` drives it with requests. The rules are client-go's: a
lease is judged by *local* time since it was last seen to change (clocks of two machines are never
compared), and a holder that could not renew for `renew_deadline` stops before others may take over.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import LEASES, ApiError, Conflict, KubernetesApi, NotFound, Object

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

_JITTER = 0.2
"""Share by which the pause between two tries varies, so that candidates do not march in step."""

_SHORTEST_PAUSE = 0.001
"""Seconds. Clocks have a grain: a sleep until the deadline may end a hair before it."""


class NotLeadingError(ApiError):
    """A write was stopped because this replica does not (or no longer surely) lead."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """Which Lease, who asks for it, and for how long; seconds.

    Another replica may take the lease `duration` after its last renewal; the holder gives up
    `renew_deadline` after it; both look every `retry_period`. A leader that dies is thus replaced
    within 15 seconds: the duration and what the standby's last look was late.
    """

    name: str
    namespace: str
    identity: str
    duration: float = 12.0
    renew_deadline: float = 8.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > self.retry_period * (1 + _JITTER) > 0:
            raise ValueError(
                "need lease duration > renew deadline > 1.2 * retry period > 0, got "
                f"{self.duration}, {self.renew_deadline}, {self.retry_period}"
            )
        if self.duration != int(self.duration):
            raise ValueError(f"the lease duration is written in whole seconds, got {self.duration}")


class LeaseElector:
    """Decides from the Lease as read whether to write it, and with what.

    `mono` is any steady clock's reading in seconds, the same clock in all calls.
    """

    def __init__(self, terms: LeaseTerms) -> None:
        self._terms = terms
        self._seen: Object | None = None
        self._seen_at = 0.0
        self._renewed: float | None = None

    @property
    def holder(self) -> str:
        """The identity that held the lease when it was last read; empty when nobody did."""
        return str(_spec(self._seen).get("holderIdentity") or "")

    def leading(self, mono: float) -> bool:
        """Whether this replica holds the lease and renewed it recently enough."""
        deadline = self.deadline()
        return deadline is not None and mono < deadline

    def deadline(self) -> float | None:
        """When leadership ends unless it is renewed before; None while not holding."""
        return None if self._renewed is None else self._renewed + self._terms.renew_deadline

    def expiry(self) -> float | None:
        """When another's lease runs out, as far as is known; None while there is none."""
        if self._renewed is not None or not self.holder:
            return None
        return self._seen_at + self._lasts(_spec(self._seen))

    def proposal(self, lease: Object | None, mono: float, wall: datetime) -> Object | None:
        """The Lease to create or replace, given the one on the server; None: wait.

        `mono` is the time after the Lease was read: a lease is never thought older than it is.
        """
        if lease is None:
            self._seen = None
            return self._lease({}, acquired=wall, wall=wall, transitions=0)
        if self._seen is None or _spec(lease) != _spec(self._seen):
            self._seen, self._seen_at = lease, mono
        spec = _spec(lease)
        holder = spec.get("holderIdentity") or ""
        transitions = int(spec.get("leaseTransitions") or 0)
        if holder == self._terms.identity:
            acquired = spec.get("acquireTime") or wall
            return self._lease(lease["metadata"], acquired, wall, transitions)
        self._renewed = None
        if holder and mono < self._seen_at + self._lasts(spec):
            return None
        return self._lease(lease["metadata"], wall, wall, transitions + 1)

    def accepted(self, lease: Object, sent_at: float) -> None:
        """The server took the proposal, which was sent at `sent_at` (the renewal's age)."""
        self._seen, self._seen_at = lease, sent_at
        self._renewed = sent_at

    def release(self, lease: Object, wall: datetime) -> Object | None:
        """The Lease that lets another replica take over at once; None if it is not ours."""
        self._renewed = None
        spec = _spec(lease)
        if spec.get("holderIdentity") != self._terms.identity:
            return None
        released = self._lease(
            lease["metadata"],
            spec.get("acquireTime") or wall,
            wall,
            int(spec.get("leaseTransitions") or 0),
        )
        released["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        return released

    def _lasts(self, spec: Object) -> float:
        return float(spec.get("leaseDurationSeconds") or self._terms.duration)

    def _lease(
        self, metadata: Object, acquired: datetime | str, wall: datetime, transitions: int
    ) -> Object:
        terms = self._terms
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {**metadata, "name": terms.name, "namespace": terms.namespace},
            "spec": {
                "holderIdentity": terms.identity,
                "leaseDurationSeconds": int(terms.duration),
                "acquireTime": acquired if isinstance(acquired, str) else _micro_time(acquired),
                "renewTime": _micro_time(wall),
                "leaseTransitions": transitions,
            },
        }


class LeaseKeeper:
    """Acquires a lease and keeps it, in whichever event loop `run` runs.

    `on_change` hears True when leadership begins and False when it is lost (never twice the same);
    `on_late` hears of each renewal whose first try failed. Both are called in this loop.
    """

    def __init__(
        self,
        api: KubernetesApi,
        terms: LeaseTerms,
        clock: Clock,
        *,
        rng: random.Random,
        on_change: Callable[[bool], None] | None = None,
        on_late: Callable[[], None] | None = None,
    ) -> None:
        self._api = api
        self._terms = terms
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._on_late = on_late
        self._late = False
        self._elector = LeaseElector(terms)
        self._leads = False
        self._reported: str | None = None
        self.elected = asyncio.Event()

    @property
    def holder(self) -> str:
        """Who held the lease when it was last read."""
        return self._elector.holder

    def leading(self) -> bool:
        """Whether this replica may write now. Safe to call from other threads' loops, whose clock
        is the same."""
        return self._elector.leading(asyncio.get_running_loop().time())

    def check(self) -> None:
        """The write gate: raise `NotLeadingError` unless leadership is certain at this moment."""
        if not self.leading():
            raise NotLeadingError(f"{self._terms.identity} does not hold {self._terms.name}")

    async def run(self) -> None:
        """Try to get the lease, keep it, and return when it is lost."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(self._patience()):
                    await self._try()
                self._late = False
            except Conflict as error:
                _log.debug("another replica was faster", error=str(error))
                self._delayed()
            except (ApiError, TimeoutError) as error:
                _log.warning(
                    "lease not renewed" if self._leads else "lease not read",
                    lease=self._terms.name,
                    error=str(error) or "timed out",
                )
                self._delayed()
            leads = self._elector.leading(loop.time())
            if leads != self._leads:
                self._leads = leads
                self._tell(leads)
                if not leads:
                    return
            await asyncio.sleep(self._pause())

    async def release(self) -> None:
        """Give the lease back, so that another replica need not wait for it to run out."""
        self._leads = False
        self.elected.clear()
        terms = self._terms
        try:
            async with asyncio.timeout(terms.retry_period):
                lease = await self._api.get(LEASES, terms.name, terms.namespace)
                released = self._elector.release(lease, self._clock.now())
                if released is not None:
                    await self._api.replace(LEASES, released, terms.namespace)
                    _log.info("lease released", lease=terms.name)
        except (ApiError, TimeoutError) as error:
            # It runs out by itself; only the others' waiting time is at stake.
            _log.warning("lease not released", lease=terms.name, error=str(error) or "timed out")

    def _delayed(self) -> None:
        """A try to renew failed; the tries after it are of the same renewal."""
        if self._leads and not self._late and self._on_late is not None:
            self._on_late()
        self._late = True

    def _patience(self) -> float:
        """Seconds that one try may take: a hung request must not outlive the deadline."""
        deadline = self._elector.deadline()
        if not self._leads or deadline is None:
            return self._terms.renew_deadline
        left = deadline - asyncio.get_running_loop().time()
        return max(0.0, min(left, self._terms.retry_period * 2))

    def _pause(self) -> float:
        pause = self._terms.retry_period * (1 + _JITTER * self._rng.random())
        # Wake at the moment that matters, to stop or to take over in time, not a pause later.
        moment = self._elector.deadline() if self._leads else self._elector.expiry()
        if moment is None:
            return pause
        left = moment - asyncio.get_running_loop().time()
        if left < 0 and not self._leads:
            return pause
        return min(pause, max(_SHORTEST_PAUSE, left))

    async def _try(self) -> None:
        loop = asyncio.get_running_loop()
        terms = self._terms
        lease: Object | None
        try:
            lease = await self._api.get(LEASES, terms.name, terms.namespace)
        except NotFound:
            lease = None
        proposal = self._elector.proposal(lease, loop.time(), self._clock.now())
        if proposal is None:
            if self.holder != self._reported:
                self._reported = self.holder
                _log.info("another replica leads", lease=terms.name, holder=self.holder)
            return
        sent_at = loop.time()
        if lease is None:
            answer = await self._api.create(LEASES, proposal, terms.namespace)
        else:
            answer = await self._api.replace(LEASES, proposal, terms.namespace)
        self._elector.accepted(answer, sent_at)

    def _tell(self, leads: bool) -> None:
        if leads:
            self.elected.set()
            _log.info("leading", lease=self._terms.name, identity=self._terms.identity)
        else:
            self.elected.clear()
            _log.error("leadership lost", lease=self._terms.name, holder=self.holder)
        if self._on_change is not None:
            self._on_change(leads)


def _spec(lease: Object | None) -> Object:
    return (lease or {}).get("spec") or {}


def _micro_time(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
