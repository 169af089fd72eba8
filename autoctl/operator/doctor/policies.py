"""Permissions to change IAM, EKS and SQS: these know no dry run, but IAM can be asked.

`SimulatePrincipalPolicy` evaluates the policies of the caller's own role for requests as the
operator would make them: their resources, and the tags and keys that policies put conditions on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from autoctl.aws.call import Caller
from autoctl.aws.eks import node_policy
from autoctl.aws.errors import CloudError, Kind
from autoctl.aws.profiles import profile_name
from autoctl.aws.tags import CLUSTER
from autoctl.operator.doctor.endpoints import unanswered
from autoctl.operator.doctor.report import Finding, error, warning

CHECK: Final = "permissions"
_ALLOWED: Final = "allowed"


@dataclass(frozen=True, slots=True)
class Question:
    """May the caller do `action` to `resource` where the condition keys have these values?"""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the operator works. `queue` is the interruption queue's name; empty for none."""

    partition: str
    account: str
    region: str
    cluster: str
    queue: str = ""

    def arn(self, service: str, resource: str, *, regional: bool = True) -> str:
        region = self.region if regional else ""
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{resource}"


def questions(place: Place, node_roles: Iterable[str]) -> list[Question]:
    """What the operator writes outside of EC2; `node_roles` are the names of NodeClasses' roles."""
    made = {f"aws:RequestTag/{CLUSTER}": place.cluster}
    own = {f"aws:ResourceTag/{CLUSTER}": place.cluster}
    name = profile_name(place.region, place.cluster, "doctor")
    profile = place.arn("iam", f"instance-profile/{name}", regional=False)
    found = [
        Question("iam:CreateInstanceProfile", profile, made),
        Question("iam:TagInstanceProfile", profile, made),
        *(
            Question(f"iam:{action}", profile, own)
            for action in (
                "AddRoleToInstanceProfile",
                "RemoveRoleFromInstanceProfile",
                "DeleteInstanceProfile",
            )
        ),
    ]
    cluster = place.arn("eks", f"cluster/{place.cluster}")
    service = "ec2.amazonaws.com.cn" if place.partition == "aws-cn" else "ec2.amazonaws.com"
    for role in sorted(set(node_roles)):
        arn = place.arn("iam", f"role/{role}", regional=False)
        entry = place.arn("eks", f"access-entry/{place.cluster}/role/{place.account}/{role}/doctor")
        policy = {"eks:policyArn": node_policy(arn)}
        found += [
            Question("iam:PassRole", arn, {"iam:PassedToService": service}),
            Question("eks:CreateAccessEntry", cluster, made | {"eks:accessEntryType": "EC2"}),
            Question("eks:AssociateAccessPolicy", entry, own | policy),
            Question("eks:DescribeAccessEntry", entry, own),
            Question("eks:DeleteAccessEntry", entry, own),
        ]
    if place.queue:
        queue = place.arn("sqs", place.queue)
        found += [Question(f"sqs:{a}", queue) for a in ("ReceiveMessage", "DeleteMessage")]
    return found


def principal(caller: str) -> str:
    """The ARN whose policies count: a session's is the one of its role."""
    head, _, resource = caller.rpartition(":")
    kind, _, rest = resource.partition("/")
    if kind != "assumed-role":
        return caller
    partition, account = head.split(":")[1], head.split(":")[4]
    return f"arn:{partition}:iam::{account}:role/{rest.partition('/')[0]}"


async def check_policies(iam: Caller, caller: str, asked: Iterable[Question]) -> list[Finding]:
    """An error for each action that the caller's policies do not allow."""

    async def refused(question: Question) -> str | None:
        answer = await iam("simulate_principal_policy", **_request(principal(caller), question))
        decisions = {r["EvalDecision"] for r in answer["EvaluationResults"]}
        return None if decisions == {_ALLOWED} else question.action

    try:
        outcomes = await asyncio.gather(*(refused(question) for question in asked))
    except CloudError as failure:
        if unreached := unanswered(failure):
            return [unreached]
        if failure.kind not in {Kind.UNAUTHORIZED, Kind.NOT_FOUND, Kind.INVALID}:
            raise
        return [
            warning(
                CHECK,
                "IAM",
                "whether the identity may change instance profiles and access entries cannot be "
                f"told: {failure.code}: {failure.message}",
                "allow iam:SimulatePrincipalPolicy to whoever runs the doctor",
            )
        ]
    return [
        error(
            CHECK,
            action,
            f"the identity may not use {action}",
            "allow it: attach the policy of hack/iam/operator-policy.json to the role",
        )
        for action in sorted({action for action in outcomes if action is not None})
    ]


def _request(source: str, question: Question) -> dict[str, Any]:
    return {
        "PolicySourceArn": source,
        "ActionNames": [question.action],
        "ResourceArns": [question.resource],
        "ContextEntries": [
            {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for key, value in sorted(question.context.items())
        ],
    }
