"""Write the generated parts of the chart `autoctl` from the operator's settings.

`values.schema.json` gets `properties.settings`, the README its table of settings. A test holds both
equal to the model.

    python hack/charts.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from autoctl.operator.settings import Settings, describe_settings

CHART = Path(__file__).resolve().parents[1] / "charts" / "autoctl"
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"

EMPTY = '""'
_DURATION = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"}


def settings_schema() -> dict[str, Any]:
    """JSON schema of the Helm value `settings`; `null` leaves a setting to its default."""
    model = Settings.model_json_schema()
    definitions = model.get("$defs", {})
    properties: dict[str, Any] = {}
    required = []
    for setting in describe_settings():
        name = setting.helm.removeprefix("settings.")
        field = dict(model["properties"][setting.field])
        for reference in [field.pop("$ref", None)]:
            if reference is not None:
                field = definitions[reference.rsplit("/", 1)[1]] | field
        default = field.pop("default", None)
        field = {k: v for k, v in field.items() if k not in ("title", "description")}
        if setting.kind == "duration":
            field, default = _DURATION, setting.default
        if setting.required:
            required.append(name)
        else:
            field = {"anyOf": [field, {"type": "null"}], "default": default}
        properties[name] = {"description": setting.description} | field
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


def schema_text() -> str:
    """The whole schema with the settings as they are now."""
    schema = json.loads(SCHEMA.read_text())
    schema["properties"]["settings"] = settings_schema()
    return json.dumps(schema, indent=2) + "\n"


def readme_text() -> str:
    """The README with its table of settings as they are now."""
    lines = ["| Value | Default | Meaning |", "|---|---|---|"]
    for setting in describe_settings():
        default = "**required**" if setting.required else f"`{setting.default or EMPTY}`"
        choices = f" One of {', '.join(f'`{c}`' for c in setting.choices)}."
        meaning = setting.description + (choices if setting.choices else "")
        lines.append(f"| `{setting.helm}` | {default} | {meaning} |")
    text, count = re.subn(
        r"(<!-- settings -->\n).*?(<!-- /settings -->)",
        lambda found: found.group(1) + "\n".join(lines) + "\n" + found.group(2),
        README.read_text(),
        flags=re.DOTALL,
    )
    assert count == 1, f"{README} has no place for the settings"
    return text


def main() -> None:
    SCHEMA.write_text(schema_text())
    README.write_text(readme_text())


if __name__ == "__main__":
    main()
