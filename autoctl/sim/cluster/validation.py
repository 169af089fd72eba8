"""What the API server refuses on its own: names, immutable fields, finalizers while deleting."""

from __future__ import annotations

import re
from typing import Any, Final

from autoctl.ports import kubernetes as k8s
from autoctl.ports.kubernetes import Invalid, Object, Resource

_SUBDOMAIN: Final = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_POD_MUTABLE: Final = ("activeDeadlineSeconds", "tolerations", "schedulingGates")
_SUBDOMAIN_MESSAGE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character"
)


def invalid(resource: Resource, name: str, errors: list[str]) -> Invalid:
    """The 422 that lists `errors` (each "path: what is wrong")."""
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    text = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    return Invalid(f'{kind} "{name}" is invalid: {text}', reason="Invalid")


def creation_errors(resource: Resource, obj: Object) -> list[str]:
    """Errors of a new object."""
    errors: list[str] = []
    name = obj["metadata"]["name"]
    if not _SUBDOMAIN.match(name) or len(name) > 253:
        errors.append(f'metadata.name: Invalid value: "{name}": {_SUBDOMAIN_MESSAGE}')
    if resource == k8s.PODS and not (obj.get("spec") or {}).get("containers"):
        errors.append("spec.containers: Required value")
    if resource == k8s.NODES:
        errors += _taint_errors(obj)
    return errors + _template_errors(resource, obj)


def update_errors(resource: Resource, before: Object, after: Object) -> list[str]:
    """Errors of a change."""
    errors: list[str] = []
    old, new = before["metadata"], after["metadata"]
    if old.get("deletionTimestamp"):
        added = [f for f in new.get("finalizers") or () if f not in (old.get("finalizers") or ())]
        if added:
            listed = ", ".join(f'"{f}"' for f in added)
            errors.append(
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is "
                f"being deleted, found new finalizers []string{{{listed}}}"
            )
    if resource == k8s.NODES:
        errors += _taint_errors(after)
        provider_id = (before.get("spec") or {}).get("providerID")
        if provider_id and (after.get("spec") or {}).get("providerID") != provider_id:
            errors.append(
                "spec.providerID: Forbidden: node updates may not change providerID except from "
                '"" to valid'
            )
    if resource == k8s.PODS and _frozen_spec(before) != _frozen_spec(after):
        errors.append(
            "spec: Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
            "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
            "previously negative)"
        )
    if resource.group == "apps" and _selector(before) != _selector(after):
        errors.append("spec.selector: Invalid value: field is immutable")
    return errors + _template_errors(resource, after)


def _selector(obj: Object) -> Any:
    return (obj.get("spec") or {}).get("selector")


def _frozen_spec(pod: Object) -> Object:
    spec = {k: v for k, v in (pod.get("spec") or {}).items() if k not in _POD_MUTABLE}
    for field in ("containers", "initContainers"):
        if field in spec:
            spec[field] = [
                {k: v for k, v in container.items() if k not in ("image", "resources")}
                for container in spec[field]
            ]
    return spec


def _taint_errors(node: Object) -> list[str]:
    seen: set[tuple[str, str]] = set()
    errors = []
    for index, taint in enumerate((node.get("spec") or {}).get("taints") or ()):
        identity = (taint.get("key", ""), taint.get("effect", ""))
        path = f"metadata.taints[{index}]"
        if not identity[0]:
            errors.append(f"{path}.key: Required value")
        if identity[1] not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            errors.append(f'{path}.effect: Unsupported value: "{identity[1]}"')
        if identity in seen:
            errors.append(f"{path}: Duplicate value: taints must be unique by key and effect pair")
        seen.add(identity)
    return errors


def _template_errors(resource: Resource, obj: Object) -> list[str]:
    if resource.group != "apps":
        return []
    spec = obj.get("spec") or {}
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if "selector" not in spec:
        return ["spec.selector: Required value"]
    if any(labels.get(key) != value for key, value in wanted.items()):
        path = "spec.template.metadata.labels"
        return [f"{path}: Invalid value: `selector` does not match template `labels`"]
    return []
