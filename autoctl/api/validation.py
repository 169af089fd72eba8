"""Validation and defaulting of manifests without an API server: same verdict, same words."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from autoctl.api.core_validation import metadata_errors, validate_core
from autoctl.api.crd import MODELS
from autoctl.api.meta import CustomResource
from autoctl.api.schema import structural_schema
from autoctl.api.selector_validation import mapping
from autoctl.api.structural import (
    MISSING,
    FieldError,
    unknown_fields,
    validate,
    with_defaults,
)

__all__ = ["FieldError", "apply_defaults", "find_model", "validate_core", "validate_manifest"]

_KINDS: Final = {(f"{model.GROUP}/{model.VERSION}", model.KIND): model for model in MODELS}


@cache
def find_model(api_version: str, kind: str) -> type[CustomResource] | None:
    """The model of a custom resource; None when this project defines none of that name."""
    return _KINDS.get((api_version, kind))


def apply_defaults(obj: dict[str, Any]) -> dict[str, Any]:
    """A copy of a custom resource as the API server would store it: defaulted and pruned.

    Raises:
        KeyError: not one of this project's custom resources.
    """
    model = _model(obj)
    head = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": obj["metadata"]}
    body = {key: value for key, value in obj.items() if key not in head}
    completed: dict[str, Any] = with_defaults(body, _body_schema(model))
    return head | completed


def validate_manifest(
    obj: dict[str, Any], old: dict[str, Any] | None = None, *, strict: bool = True
) -> list[FieldError]:
    """What the API server would say against an object; nothing when it is accepted.

    Custom resources are judged by schema and rules, Kubernetes' own kinds by `validate_core`. With
    `old`, the object before an update, transition rules hold too and what was wrong before and is
    unchanged passes. `strict` refuses unknown fields, as kubectl does by default.
    """
    model = find_model(obj.get("apiVersion", ""), obj.get("kind", ""))
    if model is None:
        return validate_core(obj)
    schema = _body_schema(model)
    body = {key: value for key, value in obj.items() if key not in {"apiVersion", "kind"}}
    body.pop("metadata", None)
    errors = []
    if strict:
        errors = [
            FieldError(path, f'unknown field "{path}"') for path in unknown_fields(body, schema)
        ]
    if errors:
        return errors
    before = MISSING if old is None else apply_defaults(old)
    if isinstance(before, dict):
        before = {key: before[key] for key in schema["properties"] if key in before}
    errors = list(metadata_errors(mapping(obj.get("metadata"))))
    errors += validate(with_defaults(body, schema), schema, before)
    if model.SCALE is not None:
        errors += _scale_errors(body)
    return errors


def _scale_errors(body: dict[str, Any]) -> list[FieldError]:
    """What the API server's scale subresource says besides the schema."""
    spec = body.get("spec")
    replicas = spec.get("replicas") if isinstance(spec, dict) else None
    if isinstance(replicas, int) and replicas < 0:
        detail = "should be a non-negative integer"
        return [FieldError(".spec.replicas", f"Invalid value: {replicas}: {detail}", replicas)]
    return []


def _model(obj: dict[str, Any]) -> type[CustomResource]:
    model = find_model(obj.get("apiVersion", ""), obj.get("kind", ""))
    if model is None:
        raise KeyError(f"{obj.get('apiVersion')} {obj.get('kind')} is no custom resource of ours")
    return model


@cache
def _body_schema(model: type[CustomResource]) -> dict[str, Any]:
    """The schema without what every object has."""
    schema = structural_schema(model)
    properties = {
        name: inner
        for name, inner in schema["properties"].items()
        if name not in {"apiVersion", "kind", "metadata"}
    }
    return schema | {"properties": properties}
