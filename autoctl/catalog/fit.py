"""Which instance types can be what a NodeClass says of its nodes.

A type that cannot is incompatible with the class (EKS User Guide, "Create a Node Class"): launching
it would fail, or give a node that nobody asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from autoctl.catalog.overhead import (
    HUGEPAGE_SIZES,
    HUGEPAGES_MEMORY_SHARE,
    MIB,
    NodeSettings,
    Percent,
    ephemeral_storage,
    memory_capacity,
    takes_efa,
)


def fits(api: Mapping[str, Any], settings: NodeSettings) -> bool:
    """Whether a type, as DescribeInstanceTypes tells it, can do what `settings` ask for."""
    return (
        hugepages_fit(api, settings)
        and interfaces_fit(api, settings)
        and eviction_fits(api, settings)
        and placement_fits(api, settings)
        and address_family_fits(api, settings)
    )


def hugepages_fit(api: Mapping[str, Any], settings: NodeSettings) -> bool:
    """Whether the static huge pages leave the type enough ordinary memory."""
    pages = sum(HUGEPAGE_SIZES[size] * count for size, count in settings.hugepages.items())
    return pages <= HUGEPAGES_MEMORY_SHARE * int(api["MemoryInfo"]["SizeInMiB"]) * MIB


def interfaces_fit(api: Mapping[str, Any], settings: NodeSettings) -> bool:
    """Whether the type has the network cards, devices and addresses of static interfaces."""
    wanted = settings.interfaces
    if not wanted:
        return True
    network = api["NetworkInfo"]
    cards = {int(card["NetworkCardIndex"]): card for card in network["NetworkCards"]}
    room = {index: int(card["MaximumNetworkInterfaces"]) for index, card in cards.items()}
    counts = Counter(i.card for i in wanted)
    efa = sum(i.efa for i in wanted)
    most_efa = int(network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0))
    addresses = int(network["Ipv4AddressesPerInterface"])
    return (
        all(count <= room.get(card, 0) for card, count in counts.items())
        and all(i.device < room[i.card] for i in wanted)
        and efa <= most_efa
        and all(takes_efa(cards[i.card]) for i in wanted if i.efa)
        and all(1 + i.addresses + i.prefixes <= addresses for i in wanted)
        and (not any(i.prefixes for i in wanted) or api.get("Hypervisor") != "xen")
    )


def eviction_fits(api: Mapping[str, Any], settings: NodeSettings) -> bool:
    """Whether soft thresholds are met before hard ones, where one is a share and one an amount."""
    storage = ephemeral_storage(api, settings)
    whole = {
        "memory.available": memory_capacity(api, settings),
        "nodefs.available": storage,
        "imagefs.available": storage,
    }
    return all(
        _amount(settings.eviction_soft[signal], total)
        > _amount(settings.eviction_hard[signal], total)
        for signal, total in whole.items()
        if signal in settings.eviction_stated
    )


def placement_fits(api: Mapping[str, Any], settings: NodeSettings) -> bool:
    """Whether the type may be in a placement group of the strategy."""
    supported = api.get("PlacementGroupInfo", {}).get("SupportedStrategies", ())
    return settings.placement is None or settings.placement in supported


def address_family_fits(api: Mapping[str, Any], settings: NodeSettings) -> bool:
    """Whether the type's nodes can give pods IPv6 addresses, where the cluster's pods have them.

    These come from prefixes, which only Nitro instances take (EKS User Guide, "Learn about IPv6
    addresses to clusters, Pods, and services").
    """
    if not settings.ipv6:
        return True
    return bool(api["NetworkInfo"].get("Ipv6Supported")) and api.get("Hypervisor") != "xen"


def _amount(threshold: int | Percent, whole: int) -> int:
    return threshold.of(whole) if isinstance(threshold, Percent) else threshold
