"""Requests, tolerations and host ports of single pods."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec
import pytest
from scheduling_worlds import make_pod

from autoctl.api import core
from autoctl.scheduling.hostports import HostPort, conflict, host_ports
from autoctl.scheduling.resources import ResourceError, pod_requests
from autoctl.scheduling.taints import first_untolerated, tolerates
from autoctl.scheduling.templates import template_of


def container(cpu: str, **more: Any) -> dict[str, Any]:
    return {"name": more.pop("name", "c"), "resources": {"requests": {"cpu": cpu}}, **more}


def spec(**fields: Any) -> core.PodSpec:
    return msgspec.convert(fields, core.PodSpec, strict=False)


@pytest.mark.parametrize(
    ("fields", "cpu"),
    [
        ({"containers": [container("1"), container("500m")]}, 1500),
        ({"containers": [container("1")], "initContainers": [container("2")]}, 2000),
        ({"containers": [container("3")], "initContainers": [container("2")]}, 3000),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("1", restartPolicy="Always"), container("3")],
            },
            4000,
        ),
        (
            {
                "containers": [container("3")],
                "initContainers": [container("2"), container("1", restartPolicy="Always")],
            },
            4000,
        ),
        ({"containers": [container("1")], "overhead": {"cpu": "2"}}, 3000),
        (
            {"containers": [container("1")], "resources": {"requests": {"cpu": "5"}}},
            5000,
        ),
        ({"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}, 2000),
    ],
    ids=["sum", "init", "main", "sidecar-first", "sidecar-last", "overhead", "pod-level", "limit"],
)
def test_effective_requests(fields: dict[str, Any], cpu: int) -> None:
    assert pod_requests(spec(**fields)) == {"cpu": cpu, "pods": 1}


def test_zero_requests_are_no_requests() -> None:
    assert "foo.com/x" not in pod_requests(
        spec(containers=[{"name": "c", "resources": {"requests": {"foo.com/x": "0"}}}])
    )


def test_a_resize_in_progress_counts_with_the_larger() -> None:
    status = core.ContainerStatus(
        name="c", resources=core.ResourceRequirements(requests={"cpu": "3"})
    )
    assert pod_requests(spec(containers=[container("1")]), [status])["cpu"] == 3000


def test_a_resize_the_node_refused_counts_with_what_the_pod_has() -> None:
    had = core.ContainerStatus(name="c", allocated_resources={"cpu": "1"})
    wanted = spec(containers=[container("3")])
    assert pod_requests(wanted, [had])["cpu"] == 3000
    assert pod_requests(wanted, [had], infeasible=True)["cpu"] == 1000


@pytest.mark.parametrize("quantity", ["1x", "-1"])
def test_malformed_quantities_name_the_field(quantity: str) -> None:
    with pytest.raises(ResourceError, match=r"^spec\.containers\[0\]\.resources\.requests\[cpu\]"):
        pod_requests(spec(containers=[container(quantity)]))


@pytest.mark.parametrize(
    ("toleration", "holds"),
    [
        (core.Toleration(operator="Exists"), True),
        (core.Toleration(key="k", operator="Exists"), True),
        (core.Toleration(key="k", value="v"), True),
        (core.Toleration(key="k", value="other"), False),
        (core.Toleration(key="k", operator="Exists", effect="NoExecute"), False),
        (core.Toleration(key="other", operator="Exists"), False),
    ],
)
def test_tolerations(toleration: core.Toleration, holds: bool) -> None:
    taint = core.Taint(key="k", value="v", effect="NoSchedule")
    assert tolerates(toleration, taint) is holds
    assert (first_untolerated([toleration], [taint]) is None) is holds


@pytest.mark.parametrize(
    ("mine", "theirs", "meet"),
    [
        (HostPort(80, "TCP", ""), HostPort(80, "TCP", "10.0.0.1"), True),
        (HostPort(80, "TCP", "10.0.0.2"), HostPort(80, "TCP", "10.0.0.1"), False),
        (HostPort(80, "UDP", ""), HostPort(80, "TCP", ""), False),
        (HostPort(81, "TCP", ""), HostPort(80, "TCP", ""), False),
    ],
)
def test_host_ports_meet(mine: HostPort, theirs: HostPort, meet: bool) -> None:
    assert (conflict([mine], [theirs]) is not None) is meet


def test_wildcards_and_host_network() -> None:
    ports = [{"containerPort": 80, "hostPort": 8080, "hostIP": "0.0.0.0"}, {"containerPort": 9}]  # noqa: S104
    pod = make_pod("p", ports=ports)
    assert host_ports(pod.spec) == (HostPort(8080, "TCP", ""),)
    assert HostPort(9, "TCP", "") in host_ports(make_pod("p", ports=ports, hostNetwork=True).spec)


def test_equal_specs_share_a_template() -> None:
    assert template_of(make_pod("a")) is template_of(make_pod("b"))
    assert template_of(make_pod("a")) is not template_of(make_pod("b", cpu="2"))


_numbers = count()


def volume(**source: Any) -> core.Volume:
    return core.Volume(name=f"kube-api-access-{next(_numbers)}", **source)


def spec_with(*volumes: core.Volume) -> core.Pod:
    return core.Pod(spec=core.PodSpec(volumes=list(volumes)))


def test_volumes_of_random_names_do_not_make_pods_different() -> None:
    """The API server gives each pod a volume for its token; pods of a Deployment stay alike."""
    assert template_of(spec_with(volume())) is template_of(spec_with(volume()))
    assert template_of(spec_with(volume())) is template_of(spec_with())


def test_volume_claims_do() -> None:
    claims = [core.PersistentVolumeClaimSource(claim_name=name) for name in ("a", "b")]
    one, other = (spec_with(volume(), volume(persistent_volume_claim=c)) for c in claims)
    assert template_of(one) is not template_of(other)
    assert template_of(one).claims == ("a",)
