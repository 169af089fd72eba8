"""Write the pages of `docs/reference/` that are generated: objects, settings, metrics.

    python hack/docs.py

A test holds the pages equal to what this makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.metrics import MetricWrapperBase

from autoctl.controllers.runtime.metrics import Metrics
from autoctl.controllers.runtime.summary import Summary
from autoctl.controllers.runtime.union import Union
from autoctl.operator.settings import settings_table

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
FIELDS = ("| Field | Type | Default | Meaning |", "|---|---|---|---|")
_MADE = "<!-- Made by hack/docs.py; do not edit. -->\n\n"


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    made = {"settings.md": settings_page(), "metrics.md": metrics_page()}
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())
        made[f"{definition['spec']['names']['kind'].lower()}.md"] = object_page(definition)
    return {name: _MADE + text for name, text in made.items()}


def settings_page() -> str:
    return (
        "# Settings of `autoctl run`\n\n"
        "Flags win over the environment. Durations are written as in Go: `10s`, `1m30s`.\n\n"
        + settings_table()
    )


def metrics_page() -> str:
    lines = [
        "# Metrics",
        "",
        "Durations are seconds, prices USD/hour. Names, types and labels are Karpenter's where it",
        "has such a metric; `autoctl_…` are this project's own.",
        "",
        "| Metric | Type | Labels | Meaning |",
        "|---|---|---|---|",
    ]
    rows = []
    for metric in Metrics().documented:
        for family in metric.describe():
            # The exposition adds the suffix that a family's name has not.
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in labels_of(metric))
            rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join([*lines, *sorted(rows)]) + "\n"


def labels_of(metric: MetricWrapperBase | Summary | Union) -> tuple[str, ...]:
    if isinstance(metric, Summary | Union):
        return tuple(metric.labelnames)
    return tuple(metric._labelnames)  # noqa: SLF001 -- prometheus-client has no public name for it


def object_page(definition: dict[str, Any]) -> str:
    """One page for a custom resource: its fields, their rules, what kubectl prints."""
    spec = definition["spec"]
    names = spec["names"]
    (version,) = [version for version in spec["versions"] if version["storage"]]
    schema = version["schema"]["openAPIV3Schema"]
    version_and_scope = f"`{spec['group']}/{version['name']}`, {spec['scope'].lower()}-scoped"
    plurals = [names["plural"], *names.get("shortNames", ())]
    get = "`kubectl get " + "`, `".join(plurals) + "`"
    lines = [
        f"# {names['kind']}",
        "",
        schema.get("description", ""),
        "",
        f"{version_and_scope}; {get}.",
        "",
    ]
    for part in ("spec", "status"):
        if part in schema["properties"]:
            lines += [
                f"## `{part}`",
                "",
                "| Field | Type | Default | Meaning |",
                "|---|---|---|---|",
            ]
            lines += [row(*field) for field in fields(schema["properties"][part], part)]
            lines.append("")
            rules = list(validations(schema["properties"][part], part))
            if rules:
                lines += ["Rules that span fields or go beyond types:", ""]
                lines += [f"- `{path}`: {message}" for path, message in rules]
                lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Path, schema and whether it is required, of every field below `schema`."""
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        inner = f"{path}.{name}"
        yield inner, field, name in required
        items, values = field.get("items"), field.get("additionalProperties")
        if isinstance(items, dict):
            yield from fields(items, f"{inner}[]")
        elif isinstance(values, dict):
            yield from fields(values, f"{inner}.<key>")
        else:
            yield from fields(field, inner)


def row(path: str, field: dict[str, Any], required: bool) -> str:
    default = "**required**" if required else code(field["default"]) if "default" in field else ""
    meaning = " ".join([field.get("description", ""), *limits(field)]).strip()
    return f"| `{path}` | {kind(field)} | {escaped(default)} | {escaped(meaning)} |"


def kind(field: dict[str, Any]) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    match field.get("type"):
        case "array":
            return f"list of {kind(field['items'])}"
        case "object" if isinstance(field.get("additionalProperties"), dict):
            return f"map of {kind(field['additionalProperties'])}"
        case str(name):
            return name
        case _:
            return "any"


def limits(field: dict[str, Any]) -> Iterator[str]:
    """The limits of a schema in words."""
    if "enum" in field:
        yield "One of " + ", ".join(code(value) for value in field["enum"]) + "."
    if field.get("minLength") == 1 or field.get("minItems") == 1:
        yield "Not empty."
        field = {k: v for k, v in field.items() if k not in ("minLength", "minItems")}
    for key, text in (
        ("minimum", "At least {}."),
        ("maximum", "At most {}."),
        ("minLength", "At least {} characters."),
        ("maxLength", "At most {} characters."),
        ("minItems", "At least {} items."),
        ("maxItems", "At most {} items."),
        ("maxProperties", "At most {} entries."),
    ):
        if key in field:
            yield text.format(f"{field[key]:,}")
    if "pattern" in field:
        yield f"Pattern {code(field['pattern'])}."


def validations(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Path and message of every CEL rule in and below `schema`."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path, rule.get("message") or code(rule.get("messageExpression", rule["rule"]))
    for name, field in schema.get("properties", {}).items():
        yield from validations(field, f"{path}.{name}")
    for key, suffix in (("items", "[]"), ("additionalProperties", ".<key>")):
        if isinstance(schema.get(key), dict):
            yield from validations(schema[key], path + suffix)


def code(value: Any) -> str:
    text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True)
    text = text.removesuffix("...\n").strip()
    return f"`{text}`" if text else '`""`'


def escaped(text: str) -> str:
    """For a cell of a table."""
    return " ".join(text.split()).replace("|", r"\|")


def main() -> None:
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)


if __name__ == "__main__":
    main()
