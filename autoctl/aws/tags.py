"""The tags that say which cluster, pool, class and NodeClaim a resource belongs to.

The `eks:` keys are those that Auto Mode's managed IAM policies require on requests (EKS User Guide,
"Learn about identity and access in EKS Auto Mode"); the `karpenter.sh/` ones are what tools for
Karpenter read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

CLUSTER = "eks:eks-cluster-name"
NODE_CLASS = "eks:kubernetes-node-class-name"
NODE_POOL = "eks:kubernetes-node-pool-name"
KARPENTER_POOL = "karpenter.sh/nodepool"
KARPENTER_CLAIM = "karpenter.sh/nodeclaim"
NAME = "Name"
LAUNCH = "autoctl.io/launch"
"""A digest of what the NodeClaim asked for; see `controllers.lifecycle.adoption`."""


def resource_tags(
    cluster: str, node_class: str, pool: str | None, custom: Mapping[str, str]
) -> dict[str, str]:
    """The tags of everything that is made for a node; `custom` are the NodeClass's own."""
    tags = dict(custom) | {CLUSTER: cluster, NODE_CLASS: node_class}
    if pool is not None:
        tags |= {NODE_POOL: pool, KARPENTER_POOL: pool}
    return tags


def to_api(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """As requests spell tags, sorted by key."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def from_api(tags: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """As answers spell them."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags or ()}


def tag_filters(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Filters that want all of `tags`; the value `*` wants the key alone."""
    return [
        {"Name": "tag-key", "Values": [key]}
        if value == "*"
        else {"Name": f"tag:{key}", "Values": [value]}
        for key, value in sorted(tags.items())
    ]
