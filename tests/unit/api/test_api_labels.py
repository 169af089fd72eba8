"""Keys: normal form, restrictions, syntax."""

from __future__ import annotations

import pytest

from autoctl.api import labels


@pytest.mark.parametrize(
    ("alias", "key"),
    [
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
        ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
        ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
        ("karpenter.k8s.aws/instance-category", "eks.amazonaws.com/instance-category"),
        ("karpenter.k8s.aws/instance-local-nvme", "eks.amazonaws.com/instance-local-nvme"),
        ("karpenter.k8s.aws/capacity-reservation-id", "eks.amazonaws.com/capacity-reservation-id"),
        ("karpenter.k8s.aws/ec2nodeclass", "eks.amazonaws.com/nodeclass"),
        ("topology.ebs.csi.eks.amazonaws.com/zone", "topology.kubernetes.io/zone"),
        ("example.com/team", "example.com/team"),
        ("kubernetes.io/arch", "kubernetes.io/arch"),
    ],
)
def test_normal_form(alias: str, key: str) -> None:
    assert labels.normalize_label(alias) == key
    assert labels.normalize_label(key) == key


def test_every_alias_of_an_instance_label_is_well_known() -> None:
    aliases = [key for key in labels.LABEL_ALIASES if key.startswith("karpenter.k8s.aws/instance-")]
    assert len(aliases) == 22
    assert all(labels.LABEL_ALIASES[key] in labels.WELL_KNOWN_LABELS for key in aliases)


@pytest.mark.parametrize(
    ("key", "restricted"),
    [
        ("karpenter.sh/capacity-type", False),
        ("karpenter.sh/nodepool", False),
        ("karpenter.sh/foo", True),
        ("sub.karpenter.sh/foo", True),
        ("notkarpenter.sh/foo", False),
        ("karpenter.k8s.aws/instance-cpu", False),
        ("karpenter.k8s.aws/foo", True),
        ("eks.amazonaws.com/instance-cpu", False),
        ("eks.amazonaws.com/nodeclass", False),
        ("eks.amazonaws.com/foo", True),
        ("topology.ebs.csi.eks.amazonaws.com/zone", False),
        ("kubernetes.io/hostname", True),
        ("node.kubernetes.io/foo", False),
        ("kops.k8s.io/instancegroup", False),
        ("team", False),
    ],
)
def test_restrictions(key: str, restricted: bool) -> None:
    assert labels.is_restricted_label(key) is restricted


@pytest.mark.parametrize("key", ["a", "A_b-c.d", "example.com/a", "a" * 63, f"{'a' * 253}/b"])
def test_qualified_names(key: str) -> None:
    assert labels.qualified_name_errors(key) == ()


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "name part must be non-empty"),
        ("a b", "name part must consist of"),
        ("-a", "name part must consist of"),
        ("a/b/c", "a qualified name must consist of"),
        ("/a", "prefix part must be non-empty"),
        ("Example.com/a", "prefix part a lowercase RFC 1123 subdomain"),
        ("a" * 64, "name part must be no more than 63 characters"),
        (f"{'a' * 254}/b", "prefix part must be no more than 253 characters"),
        ("a\n", "name part must consist of"),
    ],
)
def test_no_qualified_names(key: str, why: str) -> None:
    assert any(reason.startswith(why) for reason in labels.qualified_name_errors(key))


def test_label_values() -> None:
    assert labels.label_value_errors("") == ()
    assert labels.label_value_errors("a.B_c-1") == ()
    assert labels.label_value_errors("a" * 63) == ()
    assert labels.label_value_errors("a" * 64) == ("must be no more than 63 characters",)
    assert labels.label_value_errors("a b")[0].startswith("a valid label must be an empty string")
    assert labels.label_value_errors("a-")[0].startswith("a valid label must be an empty string")
