"""The algebra against set semantics over a finite universe, and Karpenter's published cases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoctl.api import core, labels
from autoctl.scheduling.problem import RequirementSpec
from autoctl.scheduling.requirements import (
    Requirement,
    RequirementError,
    Requirements,
    node_selector,
    node_selector_term,
)

UNIVERSE = ("A", "B", "C", "1", "2", "3", "9")


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    operator = draw(
        st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"])
    )
    if operator in ("In", "NotIn"):
        values = draw(st.lists(st.sampled_from(UNIVERSE), min_size=1, max_size=4))
    elif operator in ("Gt", "Lt", "Gte", "Lte"):
        values = [str(draw(st.integers(0, 10)))]
    else:
        values = []
    return Requirement.of("key", operator, values, draw(st.none() | st.integers(1, 5)))


def extension(requirement: Requirement) -> set[str]:
    return {v for v in UNIVERSE if requirement.has(v)}


@given(requirements(), requirements())
def test_an_intersection_has_the_values_both_have(a: Requirement, b: Requirement) -> None:
    assert extension(a.intersection(b)) == extension(a) & extension(b)


@given(requirements(), requirements(), requirements())
def test_intersections_commute_and_associate(
    a: Requirement, b: Requirement, c: Requirement
) -> None:
    assert a.intersection(b) == b.intersection(a)
    left, right = a.intersection(b).intersection(c), a.intersection(b.intersection(c))
    assert extension(left) == extension(right)
    assert left.min_values == right.min_values


@given(requirements(), requirements())
def test_a_shared_value_means_they_intersect(a: Requirement, b: Requirement) -> None:
    if extension(a) & extension(b):
        assert a.intersects(b)


@given(requirements(), requirements())
def test_manifests_keep_the_values(a: Requirement, b: Requirement) -> None:
    both = a.intersection(b)
    again = Requirements.of_specs(both.specs())["key"]
    assert extension(again) == extension(both)
    assert again.min_values == both.min_values


def req(operator: str, *values: str, least: int | None = None) -> Requirement:
    return Requirement.of("key", operator, values, least)


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        (req("Exists"), req("NotIn", "A"), req("NotIn", "A")),
        (req("DoesNotExist"), req("NotIn", "A"), req("DoesNotExist")),
        (req("DoesNotExist"), req("Exists"), req("DoesNotExist")),
        (req("In", "A"), req("In", "B"), req("DoesNotExist")),
        (req("In", "A", "B"), req("In", "A"), req("In", "A")),
        (req("NotIn", "A"), req("In", "A", "B"), req("In", "B")),
        (req("In", "1", "9"), req("Gt", "1"), req("In", "9")),
        (req("In", "A"), req("Gt", "1"), req("DoesNotExist")),
        (req("Gt", "5"), req("Lt", "5"), req("DoesNotExist")),
        (req("In", "A", least=1), req("In", "A", "B", least=2), req("In", "A", least=2)),
        (req("Exists", least=1), req("DoesNotExist"), req("DoesNotExist", least=1)),
    ],
)
def test_published_intersections(a: Requirement, b: Requirement, both: Requirement) -> None:
    assert replace(a.intersection(b), present=both.present) == both


def test_existence_stays_asked_for_beside_exclusions() -> None:
    """Karpenter's algebra forgets it; kube-scheduler does not place on a node without the label."""
    both = req("Exists").intersection(req("NotIn", "A"))
    assert not both.accepts(None)
    assert not both.accepts("A")
    assert both.accepts("B")
    assert not both.intersects(req("DoesNotExist"))
    assert Requirements.of_specs(both.specs())["key"] == both


def test_values_out_of_bounds_are_dropped_from_exclusions() -> None:
    both = req("NotIn", "1", "2").intersection(req("Gt", "1"))
    assert both.complement
    assert both.values == {"2"}
    assert both.gte == 2
    assert not both.has("2")
    assert both.has("3")


def test_bounds_and_exclusions_are_both_written() -> None:
    both = req("NotIn", "5").intersection(req("Gt", "1")).intersection(req("Lt", "9"))
    assert both.specs() == (
        RequirementSpec("key", "Gte", ("2",)),
        RequirementSpec("key", "Lte", ("8",)),
        RequirementSpec("key", "NotIn", ("5",)),
    )


@pytest.mark.parametrize(
    ("operator", "absent"),
    [("In", False), ("NotIn", True), ("Exists", False), ("DoesNotExist", True), ("Gt", False)],
)
def test_nodes_without_the_label(operator: str, absent: bool) -> None:
    values = ("1",) if operator in ("In", "NotIn", "Gt") else ()
    assert req(operator, *values).accepts(None) is absent


@pytest.mark.parametrize(
    ("alias", "key"),
    [
        ("beta.kubernetes.io/arch", labels.ARCH),
        ("beta.kubernetes.io/os", labels.OS),
        ("beta.kubernetes.io/instance-type", labels.INSTANCE_TYPE),
        ("failure-domain.beta.kubernetes.io/zone", labels.ZONE),
        ("failure-domain.beta.kubernetes.io/region", labels.REGION),
        ("topology.ebs.csi.eks.amazonaws.com/zone", labels.ZONE),
    ],
)
def test_aliases_are_normalised(alias: str, key: str) -> None:
    assert list(node_selector({alias: "x"})) == [key]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("zone", "topology.kubernetes.io/zone"),
        ("region", "topology.kubernetes.io/region"),
        ("nodepool", "karpenter.sh/nodepool"),
        ("instance-type", "node.kubernetes.io/instance-type"),
        ("arch", "kubernetes.io/arch"),
        ("capacity-type", "karpenter.sh/capacity-type"),
        ("karpenter/nodepool", "karpenter.sh/nodepool"),
        ("node.io/zone", "topology.kubernetes.io/zone"),
    ],
)
def test_typos_are_named(key: str, meant: str) -> None:
    pods = Requirements([Requirement.of(key, "In", ("x",))])
    assert Requirements().compatible(pods) == (
        f'label "{key}" does not have known values (typo of "{meant}"?)'
    )


def test_undefined_labels() -> None:
    nothing = Requirements()
    zone = Requirements([Requirement.of(labels.ZONE, "In", ("x",))])
    assert nothing.compatible(zone) is None
    custom = Requirements([Requirement.of("custom", "In", ("x",))])
    assert nothing.compatible(custom) == 'label "custom" does not have known values'
    for operator in ("NotIn", "DoesNotExist"):
        values = ("x",) if operator == "NotIn" else ()
        assert (
            nothing.compatible(Requirements([Requirement.of("custom", operator, values)])) is None
        )


@pytest.mark.parametrize(
    ("expressions", "text"),
    [
        ([("key", "In", ["a"]), ("key", "In", ["b"])], "requirements on key contradict"),
        ([("key", "Gt", ["a"])], "expected one integer value"),
        ([("key", "Near", ["a"])], "operator: 'Near': expected one of In, NotIn, Exists"),
        ([("key", "Gte", ["4"])], "operator: 'Gte': expected one of In, .*, Gt, Lt$"),
        ([("key", "In", [])], "In needs at least one value"),
        ([("karpenter.sh/custom", "In", ["a"])], "is restricted"),
    ],
)
def test_unreadable_terms_name_the_field(
    expressions: list[tuple[str, str, list[str]]], text: str
) -> None:
    term = core.NodeSelectorTerm(
        match_expressions=[
            core.NodeSelectorRequirement(key=k, operator=o, values=v) for k, o, v in expressions
        ]
    )
    with pytest.raises(RequirementError, match=text) as raised:
        node_selector_term(term, "spec.affinity")
    assert str(raised.value).startswith("spec.affinity")
