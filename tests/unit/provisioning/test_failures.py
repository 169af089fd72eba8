"""FailedScheduling: every NodePool counts, few words tell of it."""

from __future__ import annotations

from autoctl.controllers.provisioning.failures import LONGEST, failure_text
from autoctl.scheduling.explain import NO_POOL
from autoctl.scheduling.problem import Unschedulable


def refused(detail: dict[str, str]) -> str:
    """As the solver tells it: one text for all pools, or each pool's."""
    texts = list(dict.fromkeys(detail.values()))
    reason = texts[0]
    if len(texts) > 1:
        reason = f"{NO_POOL}: " + "; ".join(f"{name}: {text}" for name, text in detail.items())
    return failure_text(Unschedulable(reason, detail))


def small(offers: int, most: int) -> str:
    return (
        f"{offers} of {offers} offers are too small (cpu 500 requested, at most {most} on an "
        "empty node)"
    )


def taint(key: str) -> str:
    return f"taint team={key}:NoSchedule is not tolerated"


def test_one_reason_is_said_once() -> None:
    assert refused({"a": taint("x"), "b": taint("x")}) == f"Failed to schedule pod, {taint('x')}"
    assert refused({"a": small(8, 90)}) == f"Failed to schedule pod, {small(8, 90)}"


def test_two_pools_are_told_as_they_are() -> None:
    assert refused({"a": "NodePool limit cpu 64 reached", "b": taint("x")}) == (
        f"Failed to schedule pod, {NO_POOL}: a: NodePool limit cpu 64 reached; b: {taint('x')}"
    )


def test_pools_that_refuse_alike_are_named_together_and_taints_come_last() -> None:
    detail = {f"team-{n:02}": taint(f"t{n:02}") for n in range(40)}
    detail |= {"general": small(2133, 190), "burst": small(88, 90)}
    assert refused(detail) == (
        f"Failed to schedule pod, {NO_POOL}: "
        f"general, burst: {small(2133, 190)} (the first; the others alike); "
        "team-00, team-01, team-02 and 37 more NodePools: each has a taint that is not tolerated"
    )


def test_what_does_not_fit_is_counted() -> None:
    detail = {f"pool-{n:03}": f"label {'l' * 40}-{n}x does not exist" for n in range(200)}
    message = refused(detail)
    assert len(message) <= LONGEST
    told = message.count("does not exist")
    assert told > 5
    assert message.endswith(f"; {200 - told} more NodePools (autoctl explain pod tells all)")


def test_other_reasons_keep_the_pools_in_brackets_out_of_the_reason() -> None:
    unknown = 'spec.topologySpreadConstraints: no node has the topology key "rack"'
    detail = {"a": "topology spread over rack with maxSkew 1 leaves no domain"}
    assert failure_text(Unschedulable(unknown, detail)) == (
        f"Failed to schedule pod, {unknown}: a: {detail['a']}"
    )
    assert failure_text(Unschedulable("spec.x: not known")) == (
        "Failed to schedule pod, spec.x: not known"
    )


def test_a_single_reason_of_any_length_fits() -> None:
    assert len(failure_text(Unschedulable("x" * 5000))) == LONGEST
    assert len(failure_text(Unschedulable("x" * 990, {"a": "y" * 400}))) <= 1024
