"""What a NodeClass changes about the nodes that instance types become."""

from __future__ import annotations

from collections.abc import Mapping

from autoctl.api.nodeclass import NodeClass
from autoctl.api.quantity import whole
from autoctl.catalog.overhead import DEFAULT_SETTINGS, NodeSettings, Percent, StaticInterface

_ADDRESSES_PER_PREFIX = 16


def node_settings(node_class: NodeClass) -> NodeSettings:
    """The settings that capacity, overhead and density are computed with."""
    spec = node_class.spec
    compute = spec.advanced_compute
    kubelet = compute.kubelet if compute is not None else None
    hugepages = compute.hugepages if compute is not None else None
    interfaces = (
        spec.advanced_networking.network_interfaces
        if spec.advanced_networking is not None
        else None
    )
    eviction = kubelet.eviction if kubelet is not None else None
    group = node_class.status.placement_group
    hard = dict(DEFAULT_SETTINGS.eviction_hard)
    hard.update(_thresholds(eviction.hard if eviction is not None else None))
    return NodeSettings(
        max_pods=kubelet.max_pods if kubelet is not None else None,
        pod_subnets=bool(spec.pod_subnet_selector_terms),
        static_ips=None
        if interfaces is None
        else sum(
            (i.secondary_ipv4_count or 0)
            + _ADDRESSES_PER_PREFIX * (i.secondary_ipv4_prefix_count or 0)
            for i in interfaces
        ),
        ephemeral_storage=whole(spec.ephemeral_storage.size),
        hugepages={p.size: p.count for p in (hugepages.pages or ())} if hugepages else {},
        eviction_hard=hard,
        eviction_soft=_thresholds(eviction.soft if eviction is not None else None),
        efa_interfaces=sum(i.interface_type == "efa-only" for i in interfaces or ()),
        interfaces=tuple(
            StaticInterface(
                i.network_card_index,
                i.device_index,
                i.secondary_ipv4_count or 0,
                i.secondary_ipv4_prefix_count or 0,
                i.interface_type == "efa-only",
            )
            for i in interfaces or ()
        ),
        eviction_stated=frozenset((eviction.hard or {}).keys() & (eviction.soft or {}).keys())
        if eviction is not None
        else frozenset(),
        placement=group.strategy if group is not None else None,
        ipv6=node_class.status.ip_family == "ipv6",
    )


def _thresholds(given: Mapping[str, str] | None) -> dict[str, int | Percent]:
    return {
        signal: Percent(float(value[:-1])) if value.endswith("%") else whole(value)
        for signal, value in (given or {}).items()
    }
