"""Hashes that tell drift: does a NodeClaim still match what its pool and class ask for?

The value is this project's own; what changes it is as in Karpenter and Auto Mode. Lists count as
sets, and a field that is empty, zero or absent counts for nothing, so that spelling out a default
of an API library changes no hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from autoctl.api.duration import format_duration, parse_nillable_duration
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import NodePool

NODEPOOL_VERSION: Final = "v3"
"""Value of `karpenter.sh/nodepool-hash-version`."""

NODECLASS_VERSION: Final = "v2"
"""Value of `eks.amazonaws.com/nodeclass-hash-version`."""

NODE_SETTINGS_VERSION: Final = "v1"
"""Value of `autoctl.io/node-settings-hash-version`."""

_RESOLVED_CLASS_FIELDS: Final = frozenset(
    {
        "subnetSelectorTerms",
        "securityGroupSelectorTerms",
        "podSubnetSelectorTerms",
        "podSecurityGroupSelectorTerms",
        "capacityReservationSelectorTerms",
        "placementGroupSelector",
    }
)
"""Selectors drift by what they select, which other checks compare, not by how they are written."""


def nodepool_hash(pool: NodePool) -> str:
    """The value of `karpenter.sh/nodepool-hash`.

    Labels, annotations, taints, startup taints, node class, expireAfter and
    terminationGracePeriod of the template change it; requirements (compared with the node's
    labels instead), weight, limits, disruption and replicas don't.
    """
    template = pool.spec.template
    spec = _json(template.spec)
    spec.pop("requirements")
    for field in ("expireAfter", "terminationGracePeriod"):
        if spec[field] is not None:
            # 336h and 336h0m0s are one duration.
            spec[field] = format_duration(parse_nillable_duration(spec[field]))
    metadata = {
        "labels": dict(template.metadata.labels),
        "annotations": dict(template.metadata.annotations),
    }
    return _digest({"metadata": metadata, "spec": spec})


def nodeclass_hash(node_class: NodeClass) -> str:
    """The value of `eks.amazonaws.com/nodeclass-hash`: every field but the selectors."""
    spec = _json(node_class.spec)
    return _digest({key: value for key, value in spec.items() if key not in _RESOLVED_CLASS_FIELDS})


def node_settings_hash(mirrors: Mapping[str, Sequence[str]], unlabelled: Collection[str]) -> str:
    """The value of `autoctl.io/node-settings-hash`: the operator's own settings of nodes.

    `mirrors` are the end points of container registries, in the order in which they are tried;
    `unlabelled` the labels that nodes are not given.
    """
    endpoints = {registry: " ".join(given) for registry, given in mirrors.items()}
    return _digest({"mirrors": endpoints, "unlabelled": list(unlabelled)})


def _json(model: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = model.model_dump(mode="json", by_alias=True)
    return dumped


def _digest(value: Any) -> str:
    text = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))
    return str(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def _canonical(value: Any) -> Any:
    """The value without what counts for nothing, its lists sorted."""
    if isinstance(value, dict):
        return {key: item for key, raw in value.items() if not _is_zero(item := _canonical(raw))}
    if isinstance(value, list):
        items = [_canonical(item) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return value


def _is_zero(value: Any) -> bool:
    return value is None or value == "" or value == 0 or value in ({}, [])
