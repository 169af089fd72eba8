"""The IAM policies cover what the code calls, and no more."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest

ROOT = Path(__file__).resolve().parents[3]
IAM = ROOT / "hack" / "iam"
CLUSTER_TAG = "eks:eks-cluster-name"

BATCHED = {"sqs:DeleteMessageBatch": "sqs:DeleteMessage"}
"""IAM has one action for a call and its batch."""

IMPLIED = {
    "ec2:RunInstances": "CreateFleet launches on the caller's behalf",
    "ec2:CreateTags": "tags in requests that create",
    "iam:PassRole": "the role in an instance profile",
    "iam:CreateServiceLinkedRole": "an account's first spot request",
    "iam:TagInstanceProfile": "tags of a new instance profile",
    "eks:TagResource": "tags of a new access entry",
}


def statements(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((IAM / name).read_text())["Statement"]
    return loaded


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def granted() -> set[str]:
    return {
        action for statement in statements("operator-policy.json")
        for action in listed(statement["Action"])
    }  # fmt: skip


def called() -> set[str]:
    """Actions of the calls `self._ec2("…", …)` and `self._ec2.pages("…", …)` in `autoctl.aws`."""
    calls = set()
    for path in sorted((ROOT / "autoctl" / "aws").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and node.args):
                continue
            target = node.func
            if isinstance(target, ast.Attribute) and target.attr == "pages":
                target = target.value
            operation = node.args[0]
            if (
                isinstance(target, ast.Attribute)
                and re.fullmatch(r"_(ec2|eks|iam|pricing|sqs|ssm|sts)", target.attr)
                and isinstance(operation, ast.Constant)
            ):
                calls.add((target.attr[1:], str(operation.value)))
    assert len(calls) > 20, "the search found too little to mean anything"
    actions = set()
    for service, operation in calls:
        client: Any = boto3.client(service, region_name="us-west-2")  # type: ignore[call-overload]
        action = f"{service}:{client.meta.method_to_api_mapping[operation]}"
        actions.add(BATCHED.get(action, action))
    return actions


def test_every_call_is_granted() -> None:
    assert called() - granted() == set()


def test_nothing_is_granted_that_is_not_called() -> None:
    assert granted() - called() - set(IMPLIED) == set()


@pytest.mark.parametrize("name", sorted(path.name for path in IAM.glob("*.json")))
def test_documents_are_policies(name: str) -> None:
    document = json.loads((IAM / name).read_text())
    assert document["Version"] == "2012-10-17"
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert len(sids) == len(set(sids))
    for statement in document["Statement"]:
        assert re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"])
        assert statement["Effect"] == ("Deny" if statement["Sid"] == "OnlyTLS" else "Allow")
        for action in listed(statement["Action"]):
            assert action == "sqs:*" or "*" not in action
    # A managed policy holds 6,144 characters without white space.
    assert len(json.dumps(document, separators=(",", ":"))) <= 6144


MUTATING = re.compile(r":(Create|Delete|Terminate|Run|Tag|Add|Remove|Associate|Pass)")


def test_what_changes_something_is_scoped() -> None:
    """To this cluster's tag, or to a named role or service."""
    for statement in statements("operator-policy.json"):
        changing = [a for a in listed(statement["Action"]) if MUTATING.search(a)]
        if not changing or statement["Sid"] == "ReadInterruptions":
            continue
        conditions = statement.get("Condition", {}).get("StringEquals", {})
        tagged = any(key.endswith(f"/{CLUSTER_TAG}") for key in conditions)
        named = {"iam:PassedToService", "iam:AWSServiceName"} & set(conditions)
        if statement["Sid"] == "LaunchFromWhatIsThere":
            # Subnets, images … belong to the account; no instance is among them.
            assert not [r for r in statement["Resource"] if ":instance/" in r]
            continue
        assert tagged or named, statement["Sid"]
        assert statement["Resource"] != "*", statement["Sid"]


def test_the_cluster_is_the_only_name_in_tag_conditions() -> None:
    for statement in statements("operator-policy.json"):
        for condition in statement.get("Condition", {}).values():
            for key, value in condition.items():
                if key.endswith(f"/{CLUSTER_TAG}"):
                    assert value == "${CLUSTER_NAME}", statement["Sid"]


def test_the_readme_names_every_placeholder() -> None:
    readme = (IAM / "README.md").read_text()
    used = {
        name for path in IAM.glob("*.json")
        for name in re.findall(r"\$\{(\w+)\}", path.read_text())
    }  # fmt: skip
    assert {name for name in used if f"{name}=" not in readme} == set()
