"""Host ports: two pods whose ports meet cannot share a node.

Ports meet when number and protocol are equal and the addresses are, or either is a wildcard
(kube-scheduler's NodePorts filter). Sidecars hold their ports for the pod's life and count; plain
init containers do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from autoctl.api import core

_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, never bound to


class HostPort(NamedTuple):
    """A port on the node; `address` is empty for every address."""

    port: int
    protocol: str
    address: str

    def meets(self, other: HostPort) -> bool:
        """Whether both cannot be open on one node."""
        return (
            self.port == other.port
            and self.protocol == other.protocol
            and (self.address == other.address or not self.address or not other.address)
        )


def host_ports(spec: core.PodSpec) -> tuple[HostPort, ...]:
    """The ports the pod opens on its node, sorted.

    A pod on the host's network opens every container port, whether or not it says so twice: the
    API server defaults `hostPort` to `containerPort` there.
    """
    sidecars = [c for c in spec.init_containers or () if c.restart_policy == "Always"]
    found = set()
    for container in (*(spec.containers or ()), *sidecars):
        for port in container.ports or ():
            number = port.host_port or (port.container_port if spec.host_network else 0)
            if number:
                address = "" if port.host_ip in _WILDCARDS else port.host_ip
                found.add(HostPort(number, port.protocol or "TCP", address))
    return tuple(sorted(found))


def conflict(mine: Iterable[HostPort], theirs: Iterable[HostPort]) -> HostPort | None:
    """The first of `mine` that meets one of `theirs`."""
    others = tuple(theirs)
    for port in mine:
        if any(port.meets(other) for other in others):
            return port
    return None
