"""Label selectors as Kubernetes evaluates them.

Source: metav1.LabelSelector and "Labels and Selectors" of the Kubernetes documentation. An absent
selector matches nothing, an empty one everything.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoctl.api import core

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def matches(selector: core.LabelSelector | None, labels: Mapping[str, str] | None) -> bool:
    """Whether `labels` satisfy `selector`.

    Raises `ValueError` for an operator that is none of `OPERATORS`.
    """
    if selector is None:
        return False
    labels = labels or {}
    for key, value in (selector.match_labels or {}).items():
        if labels.get(key) != value:
            return False
    return all(_holds(e, labels) for e in selector.match_expressions or ())


def _holds(expression: core.LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression.key)
    match expression.operator:
        case "In":
            return value is not None and value in (expression.values or ())
        case "NotIn":
            return value is None or value not in (expression.values or ())
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise ValueError(
        f"label selector operator {expression.operator!r}: expected one of {', '.join(OPERATORS)}"
    )
