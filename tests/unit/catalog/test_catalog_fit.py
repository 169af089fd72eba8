"""Which instance types are compatible with what a NodeClass says."""

from __future__ import annotations

from typing import Any

import pytest

from autoctl.api.nodeclass import NodeClass
from autoctl.catalog.embedded import api_instance_types
from autoctl.catalog.fit import fits
from autoctl.catalog.node_settings import node_settings
from autoctl.catalog.overhead import MIB, NodeSettings, Percent, efa_cards


def settings(spec: dict[str, Any], **status: Any) -> NodeSettings:
    terms = [{"tags": {"team": "a"}}]
    base = {"role": "r", "subnetSelectorTerms": terms, "securityGroupSelectorTerms": terms}
    return node_settings(
        NodeClass.from_dict({"metadata": {"name": "web"}, "spec": base | spec, "status": status})
    )


def hugepages(count: int) -> dict[str, Any]:
    return {"advancedCompute": {"hugepages": {"pages": [{"size": "1Gi", "count": count}]}}}


def interfaces(*entries: dict[str, Any]) -> dict[str, Any]:
    primary = {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"}
    return {"advancedNetworking": {"networkInterfaces": [primary, *entries]}}


def interface(card: int, device: int, **fields: Any) -> dict[str, Any]:
    return {
        "networkCardIndex": card,
        "deviceIndex": device,
        "interfaceType": "interface",
        **fields,
    }


def efa(card: int) -> dict[str, Any]:
    return interface(card, 1, interfaceType="efa-only")


def eviction(soft: str, hard: str | None, signal: str = "memory.available") -> dict[str, Any]:
    given: dict[str, Any] = {"soft": {signal: soft}, "softGracePeriod": {signal: "1m"}}
    if hard is not None:
        given["hard"] = {signal: hard}
    return {"advancedCompute": {"kubelet": {"eviction": given}}}


@pytest.mark.parametrize(
    ("spec", "compatible", "incompatible"),
    [
        ({}, "m5.large", None),
        # Static huge pages take at most 80 % of the memory: 8 GiB here.
        (hugepages(6), "m5.large", None),
        (hugepages(7), "m5.xlarge", "m5.large"),
        # Three interfaces of ten addresses on m5.large, four of 15 on m5.xlarge.
        (interfaces(interface(0, 1), interface(0, 2)), "m5.large", None),
        (interfaces(*(interface(0, n) for n in (1, 2, 3))), "m5.xlarge", "m5.large"),
        (interfaces(interface(0, 1, secondaryIPv4Count=9)), "m5.large", None),
        (interfaces(interface(0, 1, secondaryIPv4Count=10)), "m5.xlarge", "m5.large"),
        (interfaces(interface(0, 1, secondaryIPv4PrefixCount=10)), "m5.xlarge", "m5.large"),
        # Prefixes are for Nitro.
        (interfaces(interface(0, 1, secondaryIPv4PrefixCount=1)), "m5.large", "m4.large"),
        (interfaces(interface(1, 0)), "p4d.24xlarge", "m5.24xlarge"),
        (interfaces(efa(1), efa(2), efa(3)), "p4d.24xlarge", "m5.large"),
        (interfaces(efa(0)), "c5n.18xlarge", "c5n.4xlarge"),
        # Its primary network card carries IP traffic alone.
        (interfaces(efa(1)), "p6-b300.48xlarge", None),
        (interfaces(efa(0)), None, "p6-b300.48xlarge"),
        # Two interfaces a card, so that the second is the last place.
        (interfaces(interface(1, 1)), "p5.48xlarge", None),
        (interfaces(interface(1, 2)), "p6-b300.48xlarge", "p5.48xlarge"),
        # A share of the memory against an amount: 10 % is more than 1 GiB from 11 GiB on.
        (eviction("10%", "1Gi"), "m5.xlarge", "m5.large"),
        (eviction("1Gi", "10%"), "m5.large", "m5.xlarge"),
        (eviction("9Gi", "10%", "nodefs.available"), "m5.large", None),
        (eviction("8Gi", "10%", "nodefs.available"), None, "m5.large"),
        # What the kubelet has by itself is not held against the class.
        (eviction("50Mi", None), "m5.large", None),
    ],
)
def test_fields_against_types(
    spec: dict[str, Any], compatible: str | None, incompatible: str | None
) -> None:
    types = api_instance_types()
    if compatible is not None:
        assert fits(types[compatible], settings(spec))
    if incompatible is not None:
        assert not fits(types[incompatible], settings(spec))


@pytest.mark.parametrize(
    ("family", "name", "expected"),
    [
        ("ipv6", "m5.large", True),
        ("ipv6", "m5.metal", True),
        ("ipv6", "m4.large", False),
        ("ipv4", "m4.large", True),
    ],
)
def test_address_families_against_types(family: str, name: str, expected: bool) -> None:
    """Pods have IPv6 addresses from prefixes, which only Nitro instances take."""
    assert fits(api_instance_types()[name], settings({}, ipFamily=family)) is expected


@pytest.mark.parametrize(
    ("name", "cards"),
    [
        ("m5.large", ()),
        ("c5n.18xlarge", (0,)),
        ("p4d.24xlarge", (0, 1, 2, 3)),
        ("p5.48xlarge", tuple(range(32))),
        ("i7ie.48xlarge", (0,)),
        ("p6-b300.48xlarge", tuple(range(1, 17))),
    ],
)
def test_cards_that_take_adapters(name: str, cards: tuple[int, ...]) -> None:
    api = api_instance_types()[name]
    assert efa_cards(api) == cards
    assert len(cards) == api["NetworkInfo"].get("EfaInfo", {}).get("MaximumEfaInterfaces", 0)


@pytest.mark.parametrize(
    ("strategy", "name", "expected"),
    [
        ("cluster", "m5.large", True),
        ("cluster", "t3.large", False),
        ("cluster", "m7i-flex.large", False),
        ("spread", "t3.large", True),
        ("partition", "t3.large", True),
    ],
)
def test_placement_groups_against_types(strategy: str, name: str, expected: bool) -> None:
    group = {"id": "pg-1", "name": "near", "strategy": strategy}
    assert fits(api_instance_types()[name], settings({}, placementGroup=group)) is expected


def test_the_memory_that_counts_is_what_the_kernel_reports() -> None:
    """10 % of the nominal 8 GiB would be enough; of what is left of them it is not."""
    limit = 8192 * MIB // 10
    given = NodeSettings(
        eviction_hard={"memory.available": limit - 1},
        eviction_soft={"memory.available": Percent(10)},
        eviction_stated=frozenset({"memory.available"}),
    )
    assert not fits(api_instance_types()["m5.large"], given)
