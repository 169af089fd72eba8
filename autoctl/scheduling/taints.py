"""Taints and tolerations, as kube-scheduler compares them (v1.Toleration.ToleratesTaint)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autoctl.api import core

NO_SCHEDULE = "NoSchedule"
NO_EXECUTE = "NoExecute"
PREFER_NO_SCHEDULE = "PreferNoSchedule"

TOLERATE_PREFERENCES = core.Toleration(operator="Exists", effect=PREFER_NO_SCHEDULE)
"""What a pod gets that may go to nodes it would rather avoid."""


def tolerates(toleration: core.Toleration, taint: core.Taint) -> bool:
    """Whether one toleration covers one taint."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    value = taint.value or ""
    match toleration.operator or "Equal":
        case "Exists":
            return True
        case "Equal":
            return bool(toleration.key) and (toleration.value or "") == value
        case "Gt" | "Lt" as operator:
            return _compares(operator, value, toleration.value or "")
    return False


def first_untolerated(
    tolerations: Sequence[core.Toleration], taints: Iterable[core.Taint]
) -> core.Taint | None:
    """The first taint (of any effect) that no toleration covers."""
    for taint in taints:
        if not any(tolerates(toleration, taint) for toleration in tolerations):
            return taint
    return None


def describe(taint: core.Taint) -> str:
    """`key=value:effect`, as kubectl prints it."""
    return f"{taint.key}{'=' + taint.value if taint.value else ''}:{taint.effect}"


def _compares(operator: str, value: str, bound: str) -> bool:
    try:
        number, limit = int(value), int(bound)
    except ValueError:
        return False
    return number > limit if operator == "Gt" else number < limit
