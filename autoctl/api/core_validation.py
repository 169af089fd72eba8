"""Checks what planning reads of Kubernetes' own kinds, as the API server would.

Only the fields that bear on placement and disruption are looked at; the rest of an object is
passed over, also where the API server requires it (a claim's access modes, a container's name): a
trimmed dump can be planned with. Kinds that planning doesn't read are accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from autoctl.api import labels
from autoctl.api.go_values import shown
from autoctl.api.meta import JsonSchema
from autoctl.api.metadata_validation import metadata_errors
from autoctl.api.quantity import QuantityError, parse_quantity
from autoctl.api.selector_validation import (
    EFFECTS,
    invalid,
    label_map_errors,
    mapping,
    name_errors,
    node_selector_errors,
    not_supported,
    preferred_errors,
    required,
    selector_errors,
    sequence,
    toleration_errors,
)
from autoctl.api.structural import FieldError

Check: TypeAlias = Callable[[JsonSchema], Iterator[FieldError]]

_QUANTITY_FORMAT = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_PERCENT_FORMAT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
    "'93%', regex used for validation is '[0-9]+%')"
)


def validate_core(obj: dict[str, Any]) -> list[FieldError]:
    """What is wrong with a Pod, Node, workload, PodDisruptionBudget, volume or claim."""
    check = _CHECKS.get((obj.get("apiVersion", ""), obj.get("kind", "")))
    return [] if check is None else list(check(obj))


def quantity_errors(resources: Any, path: str) -> Iterator[FieldError]:
    """What is wrong with a map of resources to quantities."""
    for name, quantity in mapping(resources).items():
        place = f"{path}[{name}]"
        try:
            amount = parse_quantity(quantity)
        except QuantityError:
            yield invalid(place, quantity, _QUANTITY_FORMAT)
            continue
        if amount < 0:
            yield invalid(place, str(quantity), "must be greater than or equal to 0")


def _pod(obj: JsonSchema) -> Iterator[FieldError]:
    yield from metadata_errors(mapping(obj.get("metadata")))
    yield from pod_spec_errors(mapping(obj.get("spec")), "spec")


def pod_spec_errors(spec: JsonSchema, path: str) -> Iterator[FieldError]:
    """What is wrong with a pod's spec, as far as placement goes."""
    containers = sequence(spec.get("containers"))
    if not containers:
        yield required(f"{path}.containers")
    for index, container in enumerate(containers):
        yield from _container_errors(container, f"{path}.containers[{index}]")
    for index, container in enumerate(sequence(spec.get("initContainers"))):
        yield from _container_errors(container, f"{path}.initContainers[{index}]")
    yield from quantity_errors(spec.get("overhead"), f"{path}.overhead")
    yield from _resource_errors(mapping(spec.get("resources")), f"{path}.resources")
    yield from label_map_errors(spec.get("nodeSelector"), f"{path}.nodeSelector")
    for index, toleration in enumerate(sequence(spec.get("tolerations"))):
        yield from toleration_errors(toleration, f"{path}.tolerations[{index}]")
    yield from _affinity_errors(mapping(spec.get("affinity")), f"{path}.affinity")
    yield from _spread_errors(
        sequence(spec.get("topologySpreadConstraints")), f"{path}.topologySpreadConstraints"
    )


def _container_errors(container: Any, path: str) -> Iterator[FieldError]:
    container = mapping(container)
    if container.get("name"):
        yield from name_errors(container["name"], f"{path}.name")
    yield from _resource_errors(mapping(container.get("resources")), f"{path}.resources")
    for index, port in enumerate(sequence(container.get("ports"))):
        yield from _port_errors(mapping(port), f"{path}.ports[{index}]")


def _resource_errors(resources: JsonSchema, path: str) -> Iterator[FieldError]:
    wrong = list(quantity_errors(resources.get("limits"), f"{path}.limits"))
    wrong += quantity_errors(resources.get("requests"), f"{path}.requests")
    yield from wrong
    if wrong:
        return
    limits = mapping(resources.get("limits"))
    for name, request in mapping(resources.get("requests")).items():
        if name in limits and parse_quantity(request) > parse_quantity(limits[name]):
            detail = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid(f"{path}.requests", str(request), detail)


def _port_errors(port: JsonSchema, path: str) -> Iterator[FieldError]:
    for field in ("containerPort", "hostPort"):
        number = port.get(field)
        if number is None or (field == "hostPort" and number == 0):
            continue
        if not isinstance(number, int) or not 1 <= number <= 65535:
            yield invalid(f"{path}.{field}", number, "must be between 1 and 65535, inclusive")
    protocols = ("SCTP", "TCP", "UDP")
    if port.get("protocol", "TCP") not in protocols:
        yield not_supported(f"{path}.protocol", port["protocol"], protocols)


def _affinity_errors(affinity: JsonSchema, path: str) -> Iterator[FieldError]:
    node = mapping(affinity.get("nodeAffinity"))
    place = f"{path}.nodeAffinity"
    hard, soft = (
        f"{when}DuringSchedulingIgnoredDuringExecution" for when in ("required", "preferred")
    )
    if hard in node:
        yield from node_selector_errors(mapping(node[hard]), f"{place}.{hard}")
    for index, term in enumerate(sequence(node.get(soft))):
        yield from preferred_errors(mapping(term), f"{place}.{soft}[{index}]")
    for kind in ("podAffinity", "podAntiAffinity"):
        group = mapping(affinity.get(kind))
        for index, term in enumerate(sequence(group.get(hard))):
            yield from _pod_term_errors(mapping(term), f"{path}.{kind}.{hard}[{index}]")
        for index, weighted in enumerate(sequence(group.get(soft))):
            where = f"{path}.{kind}.{soft}[{index}]"
            weight = mapping(weighted).get("weight")
            if not isinstance(weight, int) or not 1 <= weight <= 100:
                yield invalid(f"{where}.weight", weight or 0, "must be in the range 1-100")
            yield from _pod_term_errors(
                mapping(mapping(weighted).get("podAffinityTerm")), f"{where}.podAffinityTerm"
            )


def _pod_term_errors(term: JsonSchema, path: str) -> Iterator[FieldError]:
    yield from _topology_key_errors(term, path)
    for field in ("labelSelector", "namespaceSelector"):
        yield from selector_errors(term.get(field), f"{path}.{field}")


def _topology_key_errors(term: JsonSchema, path: str) -> Iterator[FieldError]:
    key = term.get("topologyKey", "")
    if not key:
        yield required(f"{path}.topologyKey", "can not be empty")
    for reason in labels.qualified_name_errors(str(key)):
        yield invalid(f"{path}.topologyKey", key, reason)


def _spread_errors(constraints: list[Any], path: str) -> Iterator[FieldError]:
    parts = [
        (entry.get("topologyKey", ""), entry.get("whenUnsatisfiable", ""))
        for entry in map(mapping, constraints)
    ]
    identities = [f"{{{key}, {action}}}" for key, action in parts]
    actions = ("DoNotSchedule", "ScheduleAnyway")
    policies = ("Honor", "Ignore")
    for index, entry in enumerate(constraints):
        constraint, place = mapping(entry), f"{path}[{index}]"
        skew = constraint.get("maxSkew", 0)
        if not isinstance(skew, int) or skew <= 0:
            yield invalid(f"{place}.maxSkew", skew, "must be greater than zero")
        key = constraint.get("topologyKey")
        if not key:
            yield required(f"{place}.topologyKey", "can not be empty")
        else:
            for reason in labels.qualified_name_errors(str(key)):
                yield invalid(f"{place}.topologyKey", key, reason)
        action = constraint.get("whenUnsatisfiable", "")
        if action not in actions:
            yield not_supported(f"{place}.whenUnsatisfiable", action, actions)
        if identities[index] in identities[index + 1 :]:
            yield FieldError(
                f"{place}.{{topologyKey, whenUnsatisfiable}}",
                f"Duplicate value: {shown(identities[index])}",
            )
        domains = constraint.get("minDomains")
        if domains is not None:
            if not isinstance(domains, int) or domains <= 0:
                yield invalid(f"{place}.minDomains", domains, "must be greater than zero")
            if action != "DoNotSchedule":
                detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                yield invalid(f"{place}.minDomains", domains, detail)
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            policy = constraint.get(field)
            if policy is not None and policy not in policies:
                yield not_supported(f"{place}.{field}", policy, policies)
        yield from selector_errors(constraint.get("labelSelector"), f"{place}.labelSelector")


def _node(obj: JsonSchema) -> Iterator[FieldError]:
    yield from metadata_errors(mapping(obj.get("metadata")))
    for index, entry in enumerate(sequence(mapping(obj.get("spec")).get("taints"))):
        taint, path = mapping(entry), f"spec.taints[{index}]"
        key = taint.get("key", "")
        for reason in labels.qualified_name_errors(str(key)):
            yield invalid(f"{path}.key", key, reason)
        for reason in labels.label_value_errors(str(taint.get("value") or "")):
            yield invalid(f"{path}.value", taint["value"], reason)
        if not taint.get("effect"):
            yield required(f"{path}.effect")
        elif taint["effect"] not in EFFECTS:
            yield not_supported(f"{path}.effect", taint["effect"], EFFECTS)
    status = mapping(obj.get("status"))
    for field in ("allocatable", "capacity"):
        yield from quantity_errors(status.get(field), f"status.{field}")


def _workload(obj: JsonSchema) -> Iterator[FieldError]:
    yield from metadata_errors(mapping(obj.get("metadata")))
    spec = mapping(obj.get("spec"))
    for field in ("replicas", "parallelism", "completions"):
        number = spec.get(field)
        if isinstance(number, int) and number < 0:
            yield invalid(f"spec.{field}", number, "must be greater than or equal to 0")
    template = mapping(spec.get("template"))
    if obj["kind"] != "Job":
        selector = spec.get("selector")
        if selector is not None:
            yield from selector_errors(selector, "spec.selector")
            yield from _template_label_errors(mapping(selector), template)
    yield from label_map_errors(
        mapping(template.get("metadata")).get("labels"), "spec.template.metadata.labels"
    )
    yield from pod_spec_errors(mapping(template.get("spec")), "spec.template.spec")


def _template_label_errors(selector: JsonSchema, template: JsonSchema) -> Iterator[FieldError]:
    found = mapping(mapping(template.get("metadata")).get("labels"))
    wanted = mapping(selector.get("matchLabels"))
    if any(found.get(key) != value for key, value in wanted.items()):
        yield invalid(
            "spec.template.metadata.labels",
            found,
            "`selector` does not match template `labels`",
        )


def _budget(obj: JsonSchema) -> Iterator[FieldError]:
    yield from metadata_errors(mapping(obj.get("metadata")))
    spec = mapping(obj.get("spec"))
    if "minAvailable" in spec and "maxUnavailable" in spec:
        yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for field in ("minAvailable", "maxUnavailable"):
        value = spec.get(field)
        if isinstance(value, int) and value < 0:
            yield invalid(f"spec.{field}", value, "must be greater than or equal to 0")
        elif isinstance(value, str) and not (value.endswith("%") and value[:-1].isdigit()):
            yield invalid(f"spec.{field}", value, _PERCENT_FORMAT)
        elif isinstance(value, str) and int(value[:-1]) > 100:
            yield invalid(f"spec.{field}", value, "must not be greater than 100%")
    yield from selector_errors(spec.get("selector"), "spec.selector")


def _volume(obj: JsonSchema) -> Iterator[FieldError]:
    yield from metadata_errors(mapping(obj.get("metadata")))
    spec = mapping(obj.get("spec"))
    affinity = mapping(spec.get("nodeAffinity"))
    if "required" in affinity:
        yield from node_selector_errors(mapping(affinity["required"]), "spec.nodeAffinity.required")
    yield from quantity_errors(spec.get("capacity"), "spec.capacity")


def _claim(obj: JsonSchema) -> Iterator[FieldError]:
    yield from metadata_errors(mapping(obj.get("metadata")))
    spec = mapping(obj.get("spec"))
    resources = mapping(spec.get("resources"))
    yield from quantity_errors(resources.get("requests"), "spec.resources.requests")


_CHECKS: Final[Mapping[tuple[str, str], Check]] = {
    ("v1", "Pod"): _pod,
    ("v1", "Node"): _node,
    ("v1", "PersistentVolume"): _volume,
    ("v1", "PersistentVolumeClaim"): _claim,
    ("apps/v1", "Deployment"): _workload,
    ("apps/v1", "ReplicaSet"): _workload,
    ("apps/v1", "StatefulSet"): _workload,
    ("apps/v1", "DaemonSet"): _workload,
    ("batch/v1", "Job"): _workload,
    ("policy/v1", "PodDisruptionBudget"): _budget,
}
