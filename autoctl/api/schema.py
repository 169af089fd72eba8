"""Structural OpenAPI v3 schemas of the models, as CRDs carry them.

pydantic describes a model in JSON Schema; CRDs want its structural subset: no references, no
`null` types, no titles, one `type` a value.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from autoctl.api.meta import CustomResource, JsonSchema

API_VERSION_SCHEMA: Final[JsonSchema] = {
    "type": "string",
    "description": "Version of the schema the object is written in.",
}
KIND_SCHEMA: Final[JsonSchema] = {
    "type": "string",
    "description": "Kind of the object.",
}

_DROPPED = frozenset({"title", "$defs", "anyOf", "allOf", "$ref", "const", "propertyNames"})


@cache
def structural_schema(model: type[CustomResource]) -> JsonSchema:
    """The `openAPIV3Schema` of the model's CRD. Shared: callers must not change it."""
    source = model.model_json_schema(by_alias=True, mode="validation")
    schema = _structural(source, source.get("$defs", {}))
    schema["properties"] = {
        "apiVersion": API_VERSION_SCHEMA,
        "kind": KIND_SCHEMA,
        **schema["properties"],
        "metadata": {"type": "object"},
    }
    return schema


def _structural(source: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    schema = _resolve(source, definitions)
    if schema.get("x-kubernetes-int-or-string"):
        # The API server takes integers and strings here; pydantic's branches say the same.
        result = {key: value for key, value in schema.items() if key not in _DROPPED | {"type"}}
        return result | {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    result = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if "properties" in schema:
        result["properties"] = {
            name: _structural(value, definitions) for name, value in schema["properties"].items()
        }
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = _structural(schema["additionalProperties"], definitions)
    if "items" in schema:
        result["items"] = _structural(schema["items"], definitions)
    if "type" not in result:
        raise TypeError(f"no structural schema for {source!r}")
    return result


def _resolve(source: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """`source` with its reference or its one branch that isn't null merged in; own keys win."""
    merged: JsonSchema = {}
    if "$ref" in source:
        merged |= _resolve(definitions[source["$ref"].removeprefix("#/$defs/")], definitions)
    branches = [branch for branch in source.get("allOf", ()) if branch]
    branches += [branch for branch in source.get("anyOf", ()) if branch.get("type") != "null"]
    if len(branches) == 1:
        merged |= _resolve(branches[0], definitions)
    own = {
        key: value
        for key, value in source.items()
        if key not in {"$ref", "anyOf", "allOf"} and not (key == "default" and value is None)
    }
    rules: list[Any] = [
        *merged.get("x-kubernetes-validations", ()),
        *own.get("x-kubernetes-validations", ()),
    ]
    merged |= own
    if rules:
        merged["x-kubernetes-validations"] = rules
    return merged
