"""Checks of label selectors, node selectors and tolerations, in the API server's words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from autoctl.api import labels
from autoctl.api.go_values import shown
from autoctl.api.meta import JsonSchema
from autoctl.api.structural import FieldError

EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LISTED = "must be specified when `operator` is 'In' or 'NotIn'"
_SINGLE = "must be specified single value when `operator` is 'Lt' or 'Gt'"
_UNLISTED = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
_NO_OPERATOR = "not a valid selector operator"


def mapping(value: Any) -> JsonSchema:
    """`value` when it is an object, else an empty one: decoding reports wrong types."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """`value` when it is a list, else an empty one: decoding reports wrong types."""
    return value if isinstance(value, list) else []


def invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError(path, f"Invalid value: {shown(value)}: {detail}", value)


def required(path: str, detail: str = "") -> FieldError:
    return FieldError(path, f"Required value: {detail}" if detail else "Required value")


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError(path, f"Forbidden: {detail}")


def not_supported(path: str, value: Any, supported: Sequence[str]) -> FieldError:
    choices = ", ".join(shown(choice) for choice in supported)
    return FieldError(
        path, f"Unsupported value: {shown(value)}: supported values: {choices}", value
    )


def name_errors(name: Any, path: str) -> Iterator[FieldError]:
    """What is wrong with a DNS label, such as a container's name."""
    text = str(name)
    if len(text) > 63:
        yield invalid(path, name, "must be no more than 63 characters")
    if not _DNS_LABEL.fullmatch(text):
        yield invalid(path, name, _DNS_LABEL_MESSAGE)


def label_map_errors(value: Any, path: str) -> Iterator[FieldError]:
    """What is wrong with labels, or with a selector made of them."""
    for key, label in mapping(value).items():
        for reason in labels.qualified_name_errors(str(key)):
            yield invalid(path, key, reason)
        for reason in labels.label_value_errors(str(label)):
            yield invalid(path, label, reason)


def selector_errors(value: Any, path: str) -> Iterator[FieldError]:
    """What is wrong with a `metav1.LabelSelector`."""
    selector = mapping(value)
    yield from label_map_errors(selector.get("matchLabels"), f"{path}.matchLabels")
    for index, entry in enumerate(sequence(selector.get("matchExpressions"))):
        requirement, place = mapping(entry), f"{path}.matchExpressions[{index}]"
        operator, values = requirement.get("operator"), sequence(requirement.get("values"))
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{place}.values", _LISTED)
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                yield forbidden(f"{place}.values", _UNLISTED)
        else:
            yield invalid(f"{place}.operator", operator or "", _NO_OPERATOR)
        yield from _key_and_value_errors(requirement, place)


def node_selector_errors(selector: JsonSchema, path: str) -> Iterator[FieldError]:
    """What is wrong with a `v1.NodeSelector`."""
    terms = sequence(selector.get("nodeSelectorTerms"))
    if not terms:
        yield required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        yield from node_term_errors(mapping(term), f"{path}.nodeSelectorTerms[{index}]")


def preferred_errors(term: JsonSchema, path: str) -> Iterator[FieldError]:
    """What is wrong with a `v1.PreferredSchedulingTerm`."""
    weight = term.get("weight", 0)
    if not isinstance(weight, int) or not 1 <= weight <= 100:
        yield invalid(f"{path}.weight", weight, "must be in the range 1-100")
    yield from node_term_errors(mapping(term.get("preference")), f"{path}.preference")


def node_term_errors(term: JsonSchema, path: str) -> Iterator[FieldError]:
    """What is wrong with a `v1.NodeSelectorTerm`."""
    for index, entry in enumerate(sequence(term.get("matchExpressions"))):
        requirement, place = mapping(entry), f"{path}.matchExpressions[{index}]"
        operator, values = requirement.get("operator"), sequence(requirement.get("values"))
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{place}.values", _LISTED)
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                yield forbidden(f"{place}.values", _UNLISTED)
        elif operator in ("Gt", "Lt"):
            if len(values) != 1:
                yield required(f"{place}.values", _SINGLE)
        else:
            yield invalid(f"{place}.operator", operator or "", _NO_OPERATOR)
        yield from _key_and_value_errors(requirement, place)


def _key_and_value_errors(requirement: JsonSchema, path: str) -> Iterator[FieldError]:
    key = requirement.get("key", "")
    for reason in labels.qualified_name_errors(str(key)):
        yield invalid(f"{path}.key", key, reason)
    for index, value in enumerate(sequence(requirement.get("values"))):
        for reason in labels.label_value_errors(str(value)):
            yield invalid(f"{path}.values[{index}]", value, reason)


def toleration_errors(value: Any, path: str) -> Iterator[FieldError]:
    """What is wrong with a `v1.Toleration`."""
    toleration = mapping(value)
    key, operator = toleration.get("key"), toleration.get("operator") or "Equal"
    effect, label = toleration.get("effect"), toleration.get("value")
    if key:
        for reason in labels.qualified_name_errors(str(key)):
            yield invalid(f"{path}.key", key, reason)
    elif operator != "Exists":
        detail = (
            'operator must be Exists when `key` is empty, which means "match all values and all '
            'keys"'
        )
        yield invalid(f"{path}.operator", toleration.get("operator") or "", detail)
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield invalid(f"{path}.effect", effect or "", detail)
    if operator == "Equal":
        for reason in labels.label_value_errors(str(label or "")):
            yield invalid(f"{path}.operator", label, reason)
    elif operator == "Exists":
        if label:
            detail = "value must be empty when `operator` is 'Exists'"
            yield invalid(f"{path}.operator", label, detail)
    else:
        yield not_supported(f"{path}.operator", operator, ("Equal", "Exists"))
    if effect and effect not in EFFECTS:
        yield not_supported(f"{path}.effect", effect, EFFECTS)
