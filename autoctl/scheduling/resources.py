"""What a pod requests of a node, in base units.

Rules: the pod's effective request of a resource is the larger of the sum over its containers and
sidecars (init containers with `restartPolicy: Always`) and the highest point of initialisation (an
init container with the sidecars started before it); pod-level resources take precedence; the
RuntimeClass overhead comes on top; every pod takes one of the node's `pods`. While a container is
being resized in place it counts with the larger of what it asks for and what it has; where the node
can never give what it asks for, with what it has. Source: Kubernetes documentation, "Sidecar
containers: resource sharing", "Pod overhead", "Pod-level resources", "Resize CPU and Memory
Resources assigned to Containers".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from autoctl.api import core
from autoctl.api.quantity import QuantityError, milli, whole
from autoctl.catalog.model import Resources

CPU = "cpu"
MEMORY = "memory"
PODS = "pods"
MOST = 1 << 53
"""Nobody can mean more millicores or bytes than this; sums of a few still fit 64 bits."""


class ResourceError(ValueError):
    """A quantity that cannot be read; the text begins with the field's path."""


def pod_requests(
    spec: core.PodSpec,
    statuses: Sequence[core.ContainerStatus] | None = None,
    *,
    infeasible: bool = False,
) -> dict[str, int]:
    """The pod's requests by resource; zero requests are left out.

    `infeasible`: the kubelet has refused the resize that the spec asks for.

    Raises:
        ResourceError: a quantity is malformed, negative or beyond all measure.
    """
    actual = {s.name: had for s in statuses or () if (had := _had(s)) is not None}
    total: dict[str, int] = {}
    for index, container in enumerate(spec.containers or ()):
        path = f"spec.containers[{index}]"
        wanted = container_requests(container, path)
        if (had := actual.get(container.name)) is not None:
            wanted = {**wanted, **had} if infeasible else _larger(wanted, had)
        _add(total, wanted)
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for index, container in enumerate(spec.init_containers or ()):
        path = f"spec.initContainers[{index}]"
        wanted = container_requests(container, path)
        if container.restart_policy == "Always":
            _add(sidecars, wanted)
            _raise_to(peak, sidecars)
        else:
            _raise_to(peak, _sum(sidecars, wanted))
    _add(total, sidecars)
    _raise_to(total, peak)
    if spec.resources is not None:
        total.update(_pod_level(spec.resources, total))
    if spec.overhead:
        _add(total, amounts(spec.overhead, "spec.overhead"))
    total[PODS] = 1
    return {name: amount for name, amount in total.items() if amount}


def resize_infeasible(status: core.PodStatus) -> bool:
    """Whether the kubelet said that a pod's resize can never be done on its node."""
    return any(
        c.type == "PodResizePending" and c.status == "True" and c.reason == "Infeasible"
        for c in status.conditions or ()
    )


def container_requests(container: core.Container, path: str) -> dict[str, int]:
    """One container's requests; a limit without a request is a request, as the API defaults it.

    Raises:
        ResourceError: a quantity is malformed, negative or beyond all measure.
    """
    return _with_limits(container.resources, f"{path}.resources")


def amounts(given: Mapping[str, core.Quantity], path: str) -> dict[str, int]:
    """A resource list in base units.

    Raises:
        ResourceError: a quantity is malformed, negative or beyond all measure.
    """
    found: dict[str, int] = {}
    for name, quantity in given.items():
        try:
            amount = milli(quantity) if name == CPU else whole(quantity)
        except QuantityError as error:
            raise ResourceError(f"{path}[{name}]: {error}") from None
        if amount < 0:
            raise ResourceError(f"{path}[{name}]: {quantity} is negative")
        if amount > MOST:
            raise ResourceError(f"{path}[{name}]: {quantity} is more than any node has")
        found[name] = amount
    return found


def total(many: Iterable[Resources]) -> dict[str, int]:
    """The sum by resource."""
    result: dict[str, int] = {}
    for each in many:
        _add(result, each)
    return result


def _with_limits(given: core.ResourceRequirements | None, path: str) -> dict[str, int]:
    if given is None:
        return {}
    wanted = amounts(given.limits, f"{path}.limits") if given.limits else {}
    if given.requests:
        wanted.update(amounts(given.requests, f"{path}.requests"))
    return wanted


def _pod_level(given: core.ResourceRequirements, containers: Resources) -> dict[str, int]:
    """Pod-level requests; a pod-level limit stands in where no container asks for the resource."""
    wanted = amounts(given.requests or {}, "spec.resources.requests")
    for name, amount in amounts(given.limits or {}, "spec.resources.limits").items():
        if name not in wanted and not containers.get(name):
            wanted[name] = amount
    return wanted


def _had(status: core.ContainerStatus) -> dict[str, int] | None:
    """What a running container was given; None where its kubelet does not tell."""
    path = f"status.containerStatuses[{status.name}]"
    given = status.resources.requests if status.resources is not None else None
    if not given and not status.allocated_resources:
        return None
    found = amounts(given or {}, f"{path}.resources.requests")
    _raise_to(found, amounts(status.allocated_resources or {}, f"{path}.allocatedResources"))
    return found


def _larger(a: Resources, b: Resources) -> dict[str, int]:
    result = dict(a)
    _raise_to(result, b)
    return result


def _add(target: dict[str, int], more: Resources) -> None:
    for name, amount in more.items():
        target[name] = target.get(name, 0) + amount


def _sum(a: Resources, b: Resources) -> dict[str, int]:
    result = dict(a)
    _add(result, b)
    return result


def _raise_to(target: dict[str, int], other: Resources) -> None:
    for name, amount in other.items():
        if amount > target.get(name, 0):
            target[name] = amount
