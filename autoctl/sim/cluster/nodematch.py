"""Whether a node satisfies a pod's nodeSelector and required node affinity.

Written from the Kubernetes documentation ("Assigning Pods to Nodes") and the field comments of
`v1.NodeSelectorTerm`, without regard to `autoctl.scheduling`, which it serves to check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoctl.ports.kubernetes import Object


def matches_node(spec: Mapping[str, Any], node: Object) -> bool:
    """nodeSelector and `requiredDuringSchedulingIgnoredDuringExecution` of a pod spec."""
    labels = node["metadata"].get("labels") or {}
    for key, value in (spec.get("nodeSelector") or {}).items():
        if labels.get(key) != value:
            return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(
        term_matches(term, labels, node["metadata"]["name"])
        for term in required.get("nodeSelectorTerms") or ()
    )


def term_matches(term: Mapping[str, Any], labels: Mapping[str, str], name: str) -> bool:
    """One NodeSelectorTerm: all expressions and fields hold; an empty term matches nothing."""
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(expression_matches(e, labels) for e in expressions) and all(
        expression_matches(f, {"metadata.name": name}) for f in fields
    )


def expression_matches(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """One NodeSelectorRequirement; Gt and Lt compare integers and fail on anything else."""
    operator = expression["operator"]
    values: Sequence[str] = expression.get("values") or ()
    value = labels.get(expression["key"])
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if value is None or len(values) != 1:
        return False
    try:
        left, right = int(value), int(values[0])
    except ValueError:
        return False
    return left > right if operator == "Gt" else operator == "Lt" and left < right
