"""What the schema cannot say about a NodePool, checked by the operator and offline.

Karpenter calls it RuntimeValidate; its failures make the pool's condition ValidationSucceeded
false.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, get_args

from autoctl.api import labels
from autoctl.api.nodeclaim import Operator, Requirement, Taint, TaintEffect
from autoctl.api.nodepool import NodePool
from autoctl.api.quantity import QuantityError, parse_quantity

_OPERATORS: Final = frozenset(get_args(Operator))
_EFFECTS: Final = frozenset(get_args(TaintEffect))
_BOUNDS: Final = frozenset({"Gt", "Lt", "Gte", "Lte"})


def runtime_validate(pool: NodePool) -> list[str]:
    """Why nothing can be launched from the pool; empty when something can."""
    template = pool.spec.template
    return [
        *_label_errors(template.metadata.labels),
        *_taint_errors(template.spec.taints, template.spec.startup_taints),
        *requirement_errors(template.spec.requirements),
        *_limit_errors(pool),
    ]


def requirement_errors(requirements: Iterable[Requirement]) -> Iterator[str]:
    """What is wrong with requirements, whether of a pool, a claim or an overlay."""
    for requirement in requirements:
        yield from _requirement_errors(requirement)


def _label_errors(template_labels: dict[str, str]) -> Iterator[str]:
    for key, value in template_labels.items():
        if key == labels.NODEPOOL:
            yield f"invalid key name {key!r} in labels, restricted"
        for reason in labels.qualified_name_errors(key):
            yield f"invalid key name {key!r} in labels, {reason}"
        for reason in labels.label_value_errors(value):
            yield f"invalid value: {value!r} for label[{key}], {reason}"
        if labels.is_restricted_label(key):
            yield f"invalid key name {key!r} in labels, {_restriction(key)}"


def _taint_errors(taints: Iterable[Taint], startup_taints: Iterable[Taint]) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for field, group in (("taints", taints), ("startupTaints", startup_taints)):
        for taint in group:
            for reason in labels.qualified_name_errors(taint.key):
                yield f"invalid value: {reason}, {field}"
            for reason in labels.label_value_errors(taint.value) if taint.value else ():
                yield f"invalid value: {reason}, {field}"
            if taint.effect not in _EFFECTS:
                yield f"invalid value: {taint.effect}, {field}"
            identity = (taint.key, taint.effect)
            if identity in seen:
                yield f"duplicate taint Key/Effect pair {taint.key}={taint.effect}"
            seen.add(identity)


def _requirement_errors(requirement: Requirement) -> Iterator[str]:
    key, operator, values = requirement.key, requirement.operator, requirement.values
    minimum = requirement.min_values
    if operator not in _OPERATORS:
        yield f"key {key} has an unsupported operator {operator} not in {sorted(_OPERATORS)}"
    if labels.is_restricted_label(key):
        yield f"key {key} is restricted, {_restriction(key)}"
    for reason in labels.qualified_name_errors(key):
        yield f"key {key} is not a qualified name, {reason}"
    for value in values:
        for reason in labels.label_value_errors(value):
            yield f"invalid value {value} for key {key}, {reason}"
    if operator == "In":
        if not values:
            yield f"key {key} with operator In must have a value defined"
        if minimum is not None and len(values) < minimum:
            yield (
                f"key {key} with operator In must have at least minimum number of values defined "
                f"in 'values' field ({len(values)} of {minimum})"
            )
        yield from _well_known_value_errors(key, values, minimum)
    if operator in _BOUNDS and not (
        len(values) == 1 and values[0].isascii() and values[0].isdigit()
    ):
        yield f"key {key} with operator {operator} must have a single positive integer value"


def _well_known_value_errors(
    key: str, values: tuple[str, ...], minimum: int | None
) -> Iterator[str]:
    """Values that a well-known label can never have leave fewer to choose from.

    As long as one is left, and as many as `minValues` asks for, the others are passed over.
    """
    known = labels.WELL_KNOWN_VALUES.get(labels.normalize_label(key))
    if known is None or not values:
        return
    valid = [value for value in values if value in known]
    if not valid:
        yield f"no valid values found in {list(values)} for {key}, expected one of {sorted(known)}"
    elif minimum is not None and len(valid) < minimum:
        yield (
            f"key {key} has {len(valid)} valid values {valid}, fewer than minValues {minimum}, "
            f"expected values are {sorted(known)}"
        )


def _limit_errors(pool: NodePool) -> Iterator[str]:
    for resource, limit in pool.spec.limits.items():
        try:
            parse_quantity(limit)
        except QuantityError as error:
            yield f"limits.{resource}: {error}"


def _restriction(key: str) -> str:
    if key in labels.RESTRICTED_LABELS:
        return f"label {key} is restricted; specify a well known label or a custom label"
    return (
        f"label {key} is in a restricted domain; specify a well known label: "
        f"{', '.join(sorted(labels.WELL_KNOWN_LABELS))}, or a label of another domain than "
        f"{', '.join(labels.RESTRICTED_LABEL_DOMAINS)}"
    )
