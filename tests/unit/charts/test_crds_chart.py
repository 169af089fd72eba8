"""The chart of the CRDs renders what the repository's `crds/` holds."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from charts_rendering import CHARTS, Render

KEEP = "helm.sh/resource-policy"


def crds() -> dict[str, dict[str, Any]]:
    files = sorted((CHARTS.parent / "crds").glob("*.yaml"))
    documents = [document for file in files for document in yaml.safe_load_all(file.read_text())]
    assert documents
    return {document["metadata"]["name"]: document for document in documents}


def by_name(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {o["metadata"]["name"]: o for o in objects}


@pytest.mark.parametrize("keep", [True, False])
def test_definitions_are_unchanged_but_for_the_policy(render: Render, keep: bool) -> None:
    values = {"crds": {"keep": keep}}
    rendered = by_name(render("autoctl-crds", values, "--kube-version", "v1.36.0"))
    for definition in rendered.values():
        annotations = definition["metadata"].get("annotations", {})
        assert annotations.pop(KEEP, None) == ("keep" if keep else None)
        if not annotations:
            definition["metadata"].pop("annotations", None)
    assert rendered == crds()


def test_definitions_are_kept_unless_told_otherwise(render: Render) -> None:
    for definition in render("autoctl-crds"):
        assert definition["metadata"]["annotations"][KEEP] == "keep"


def test_labels_and_annotations_are_added(render: Render) -> None:
    for definition in render(
        "autoctl-crds", {"additionalLabels": {"l": "1"}, "additionalAnnotations": {"a": "2"}}
    ):
        metadata = definition["metadata"]
        assert metadata["labels"]["l"] == "1"
        assert metadata["annotations"].items() >= {"a": "2", KEEP: "keep"}.items()


@pytest.mark.parametrize(
    ("version", "value", "expected"),
    [
        ("v1.36.2", "", "WhenEmptyOrUnderutilized"),
        ("v1.37.0", "", "Balanced"),
        ("v1.37.1-eks-0123456", "", "Balanced"),
        ("v1.38.0", "WhenEmpty", "WhenEmpty"),
        ("v1.34.0", "Balanced", "Balanced"),
    ],
)
def test_the_default_policy_follows_the_version(
    render: Render, version: str, value: str, expected: str
) -> None:
    values = {"defaultConsolidationPolicy": value}
    definition = by_name(render("autoctl-crds", values, "--kube-version", version))[
        "nodepools.karpenter.sh"
    ]
    (served,) = definition["spec"]["versions"]
    spec = served["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    policy = spec["disruption"]["properties"]["consolidationPolicy"]
    assert policy["default"] == expected
    assert policy["enum"] == ["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"]


def test_the_operators_chart_brings_the_same_definitions(
    run_helm: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    shown = run_helm("show", "crds", CHARTS / "autoctl")
    assert shown.returncode == 0, shown.stderr
    assert by_name([d for d in yaml.safe_load_all(shown.stdout) if d]) == crds()
