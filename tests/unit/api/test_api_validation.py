"""The offline verdict on manifests, against the table that the real API server answers too."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from admission_table import Case, core_cases, custom_cases, merge_patch, without_nulls

from autoctl.api.crd import MODELS
from autoctl.api.validation import (
    FieldError,
    apply_defaults,
    find_model,
    validate_core,
    validate_manifest,
)

CUSTOM = custom_cases()
CORE = core_cases()


def said(errors: list[FieldError]) -> set[tuple[str, str]]:
    return {(error.field, error.message) for error in errors}


def base(kind: str) -> dict[str, Any]:
    """The first manifest of the kind that the table accepts."""
    found = next(case for case in CUSTOM if case.manifest["kind"] == kind and not case.errors)
    return copy.deepcopy(found.manifest)


@pytest.mark.parametrize("case", CUSTOM, ids=str)
def test_custom_resources(case: Case) -> None:
    assert said(validate_manifest(case.manifest, case.old)) == case.errors


@pytest.mark.parametrize("case", CORE, ids=str)
def test_core_kinds(case: Case) -> None:
    assert said(validate_core(case.manifest)) == case.errors
    assert said(validate_manifest(case.manifest)) == case.errors


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert sum(bool(case.errors) for case in CUSTOM) >= 240
    assert {case.manifest["kind"] for case in CUSTOM} == {model.KIND for model in MODELS}
    names = [case.name for case in CUSTOM]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", [c for c in CUSTOM if not c.errors], ids=str)
def test_what_is_accepted_the_models_read(case: Case) -> None:
    model = find_model(case.manifest["apiVersion"], case.manifest["kind"])
    assert model is not None
    obj = model.from_dict(without_nulls(case.manifest))
    assert model.from_dict(obj.to_dict()) == obj
    # What the API server stores reads as the same object: models and CRDs have the same defaults.
    stored = model.from_dict(apply_defaults(case.manifest))
    assert stored.model_dump() == obj.model_dump()


def test_nodes_taints() -> None:
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "a"},
        "spec": {"taints": [{"key": "a"}, {"key": "b c", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "4x"}},
    }
    assert [error.field for error in validate_core(node)] == [
        "spec.taints[0].effect",
        "spec.taints[1].key",
        "status.allocatable[cpu]",
    ]


def test_wrong_types_do_not_stop_the_check() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": [], "spec": {"tolerations": {}}}
    assert [error.field for error in validate_core(pod)] == ["metadata.name", "spec.containers"]


def test_other_kinds_pass() -> None:
    assert validate_manifest({"apiVersion": "v1", "kind": "ConfigMap"}) == []


def test_unknown_fields_pass_when_not_strict() -> None:
    pool = merge_patch(base("NodePool"), {"spec": {"unknown": {"a": 1}}})
    assert said(validate_manifest(pool)) == {("spec.unknown", 'unknown field "spec.unknown"')}
    assert validate_manifest(pool, strict=False) == []
    assert "unknown" not in apply_defaults(pool)["spec"]


@pytest.mark.parametrize(
    ("metadata", "field", "detail"),
    [
        (["a"], "metadata", "cannot unmarshal array into Go value of type v1.ObjectMeta"),
        ({"labels": {"a": 1}}, "metadata.labels", "number into Go struct field ObjectMeta.labels"),
        ({"labels": []}, "metadata.labels", "of type map[string]string"),
        ({"annotations": {"a": True}}, "metadata.annotations", "cannot unmarshal bool"),
        ({"finalizers": "x"}, "metadata.finalizers", "of type []string"),
        ({"finalizers": [1]}, "metadata.finalizers", "of type string"),
        ({"ownerReferences": [1]}, "metadata.ownerReferences", "of type v1.OwnerReference"),
        ({"ownerReferences": [{"controller": "x"}]}, "metadata.ownerReferences", "of type bool"),
        ({"generation": "x"}, "metadata.generation", "cannot unmarshal string"),
        ({"creationTimestamp": "x"}, "metadata.creationTimestamp", "expected RFC 3339"),
        ({"creationTimestamp": 1}, "metadata.creationTimestamp", "of type string"),
        ({"managedFields": "x"}, "metadata.managedFields", "[]v1.ManagedFieldsEntry"),
    ],
)
def test_metadata_that_cannot_be_read(metadata: object, field: str, detail: str) -> None:
    named = {"name": "a", **metadata} if isinstance(metadata, dict) else metadata
    (error,) = validate_manifest(base("NodePool") | {"metadata": named})
    assert error.field == field
    assert detail in error.message


def test_metadata_as_a_cluster_stores_it_passes() -> None:
    stored = {
        "name": "a",
        "uid": "1",
        "resourceVersion": "7",
        "generation": 2,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "deletionTimestamp": None,
        "managedFields": [{"manager": "kubectl"}],
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "2", "controller": True}
        ],
        "finalizers": ["karpenter.sh/termination"],
    }
    assert validate_manifest(base("NodePool") | {"metadata": stored}) == []


def test_an_error_reads_as_kubectl_prints_it() -> None:
    pool = merge_patch(base("NodePool"), {"spec": {"weight": 101}})
    (error,) = validate_manifest(pool)
    assert str(error) == (
        "spec.weight: Invalid value: 101: spec.weight in body should be less than or equal to 100"
    )
    assert error.value == 101


def test_what_was_wrong_before_and_is_unchanged_passes() -> None:
    old = merge_patch(base("NodePool"), {"spec": {"weight": 101}})
    new = merge_patch(old, {"metadata": {"labels": {"a": "b"}}})
    assert validate_manifest(new, old) == []
    worse = merge_patch(old, {"spec": {"weight": 102}})
    assert [error.field for error in validate_manifest(worse, old)] == ["spec.weight"]


def test_the_defaults_of_a_pool() -> None:
    stored = apply_defaults(
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": "a"},
            "spec": {
                "weight": None,
                "template": {
                    "spec": {
                        "nodeClassRef": {
                            "group": "eks.amazonaws.com",
                            "kind": "NodeClass",
                            "name": "a",
                        },
                        "requirements": [],
                        "expireAfter": None,
                    }
                },
            },
        }
    )
    assert stored["spec"]["disruption"] == {
        "consolidateAfter": "0s",
        "consolidationPolicy": "WhenEmptyOrUnderutilized",
        "budgets": [{"nodes": "10%"}],
    }
    spec = stored["spec"]["template"]["spec"]
    assert spec["expireAfter"] == "336h"
    assert "terminationGracePeriod" not in spec


def test_the_defaults_of_a_claim_and_a_class() -> None:
    claim = apply_defaults(base("NodeClaim"))
    assert "terminationGracePeriod" not in claim["spec"]
    assert claim["spec"]["expireAfter"] == "336h"
    defaulted = ("ephemeralStorage", "networkPolicy", "networkPolicyEventLogs", "snatPolicy")
    node_class = merge_patch(base("NodeClass"), {"spec": dict.fromkeys(defaulted)})
    spec = apply_defaults(node_class)["spec"]
    assert spec["ephemeralStorage"] == {"size": "80Gi", "iops": 3000, "throughput": 125}
    assert spec["networkPolicy"] == "DefaultAllow"
    assert spec["networkPolicyEventLogs"] == "Disabled"
    assert spec["snatPolicy"] == "Random"
    assert "advancedNetworking" not in spec


def test_defaulting_knows_our_kinds_only() -> None:
    with pytest.raises(KeyError, match="ConfigMap"):
        apply_defaults({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})


@pytest.mark.parametrize("case", [c for c in CUSTOM if c.old is not None], ids=str)
def test_parts_that_are_the_very_same_change_no_verdict(case: Case) -> None:
    assert case.old is not None
    shared = {k: case.old[k] if case.old.get(k) == v else v for k, v in case.manifest.items()}
    assert said(validate_manifest(shared, case.old)) == case.errors


def test_a_status_is_judged_although_the_spec_is_the_very_same() -> None:
    old = merge_patch(base("NodePool"), {"spec": {"weight": 101}})
    written = {**old, "status": {"conditions": [{"type": "Ready", "status": "Perhaps"}]}}
    fields = [e.field for e in validate_manifest(written, old)]
    assert "status.conditions[0].status" in fields
    assert not any(f.startswith("spec") for f in fields), "what was wrong before passes"


def test_stored_parts_are_shared_and_changed_ones_completed() -> None:
    stored = apply_defaults(base("NodePool"))
    patched = {**stored, "status": {"nodes": 3, "unknown": 1}}
    found = apply_defaults(patched, stored)
    assert found["spec"] is stored["spec"]
    assert found["status"] == {"nodes": 3}
    replaced = {**stored, "spec": {**stored["spec"], "disruption": None}}
    assert apply_defaults(replaced, stored)["spec"]["disruption"] == {
        "budgets": [{"nodes": "10%"}],
        "consolidateAfter": "0s",
        "consolidationPolicy": "WhenEmptyOrUnderutilized",
    }
