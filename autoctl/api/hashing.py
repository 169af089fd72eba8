"""Hashes that tell drift: does a NodeClaim still match what its pool and class ask for?

The value is this project's own; what changes it is as in Karpenter and Auto Mode. Lists count as
sets, and a field that is empty or at the CRD's default counts for nothing, so that spelling out
what holds anyway changes no hash. A zero or `false` where nothing is the default says something,
and so does each entry of a map, whatever its value: a label may be empty.

A change of a default therefore needs a new version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import pydantic

from autoctl.api.duration import format_duration, parse_nillable_duration
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodepool import NodePool

NODEPOOL_VERSION: Final = "v4"
"""Value of `karpenter.sh/nodepool-hash-version`."""

NODECLASS_VERSION: Final = "v3"
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
    spec = _canonical(template.spec)
    spec.pop("requirements", None)
    for field, given in (
        ("expireAfter", template.spec.expire_after),
        ("terminationGracePeriod", template.spec.termination_grace_period),
    ):
        if given is not None:
            # 336h and 336h0m0s are one duration.
            spec[field] = format_duration(parse_nillable_duration(given))
    return _digest({"metadata": _canonical(template.metadata), "spec": spec})


def nodeclass_hash(node_class: NodeClass) -> str:
    """The value of `eks.amazonaws.com/nodeclass-hash`: every field but the selectors."""
    spec = _canonical(node_class.spec)
    return _digest({key: value for key, value in spec.items() if key not in _RESOLVED_CLASS_FIELDS})


def node_settings_hash(mirrors: Mapping[str, Sequence[str]], unlabelled: Collection[str]) -> str:
    """The value of `autoctl.io/node-settings-hash`: the operator's own settings of nodes.

    `mirrors` are the end points of container registries, in the order in which they are tried;
    `unlabelled` the labels that nodes are not given.
    """
    endpoints = {registry: " ".join(given) for registry, given in mirrors.items()}
    settings = {"mirrors": endpoints, "unlabelled": sorted(unlabelled)}
    return _digest({name: given for name, given in settings.items() if given})


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return str(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def _canonical(model: pydantic.BaseModel) -> dict[str, Any]:
    """The fields that count, by their JSON names, with lists sorted."""
    dumped = model.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return _counting(dumped, model)


def _counting(dumped: dict[str, Any], model: pydantic.BaseModel) -> dict[str, Any]:
    """Of `dumped`, which `model` was dumped to without its defaults, what is not empty."""
    found = {}
    for name, field in type(model).model_fields.items():
        key = field.serialization_alias or name
        if key in dumped:
            value = _plain(dumped[key], getattr(model, name))
            if not _is_empty(value):
                found[key] = value
    return found


def _plain(dumped: Any, source: Any) -> Any:
    if isinstance(source, pydantic.BaseModel):
        return _counting(dumped, source)
    if isinstance(source, list | tuple):
        items = [_plain(*pair) for pair in zip(dumped, source, strict=True)]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return dumped


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or value in ({}, [])
