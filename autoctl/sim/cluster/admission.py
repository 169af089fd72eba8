"""Defaulting and validation of our custom resources, by the models that generate the CRDs."""

from __future__ import annotations

from autoctl.api.validation import apply_defaults, find_model, validate_manifest
from autoctl.ports.kubernetes import Object


def crd_errors(obj: Object, old: Object | None) -> list[str]:
    """What the CRD's schema and rules say against an object; for `SimCluster(admission=…)`.

    Unknown fields are no error: the API server prunes them, and so does `crd_defaults`.
    """
    if find_model(obj["apiVersion"], obj["kind"]) is None:
        return []
    return [
        f"{error.field.removeprefix('.')}: {error.message}"
        for error in validate_manifest(obj, old, strict=False)
    ]


def crd_defaults(obj: Object, old: Object | None) -> Object:
    """The object defaulted and pruned by its CRD's schema; for `SimCluster(defaulting=…)`."""
    if find_model(obj["apiVersion"], obj["kind"]) is None:
        return obj
    return apply_defaults(obj, old)
