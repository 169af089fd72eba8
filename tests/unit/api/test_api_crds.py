"""The generated definitions: files, shape, rules, and the command that writes them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cel
import pytest
import yaml
from click.testing import CliRunner

from autoctl.api.crd import MODELS, crd, crds, files, to_yaml
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodepool import NodePool
from autoctl.api.structural import validate
from autoctl.cli.crds import crds as command

ROOT = Path(__file__).resolve().parents[3]


def schemas(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema, with its path."""
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from schemas(inner, f"{path}.{name}")
    if isinstance(node.get("additionalProperties"), dict):
        yield from schemas(node["additionalProperties"], f"{path}.*")
    if "items" in node:
        yield from schemas(node["items"], f"{path}[]")


def schema_of(definition: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


ALL = {
    f"{definition['spec']['names']['kind']}{path}": inner
    for definition in crds()
    for path, inner in schemas(schema_of(definition))
}
RULES = sorted(
    {
        entry["rule"]
        for schema in ALL.values()
        for entry in schema.get("x-kubernetes-validations", ())
    }
)
NAMES = {"self", "oldSelf", "x", "y", "k"}


def test_the_files_are_those_of_the_models() -> None:
    folder = ROOT / "crds"
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}
    assert found == files(), "run `autoctl crds --output crds`"


def test_the_yaml_says_what_the_definition_says() -> None:
    for definition in crds():
        assert yaml.safe_load(to_yaml(definition)) == definition


def test_schemas_are_structural() -> None:
    types = {"object", "array", "string", "integer", "boolean"}
    for path, schema in ALL.items():
        assert not {"$ref", "title", "allOf", "const"} & set(schema), path
        if schema.get("x-kubernetes-int-or-string"):
            assert "type" not in schema, path
        else:
            assert schema["type"] in types, path
        assert "items" in schema or schema.get("type") != "array", path


def test_defaults_obey_their_schema() -> None:
    defaulted = {path: schema for path, schema in ALL.items() if "default" in schema}
    assert len(defaulted) > 15
    for path, schema in defaulted.items():
        assert validate(schema["default"], schema) == [], path


@pytest.mark.parametrize("rule", RULES)
def test_rules_compile(rule: str) -> None:
    program = cel.compile(rule)
    assert set(program.variables()) <= NAMES


def test_every_field_is_described() -> None:
    missing = [
        path
        for path, schema in ALL.items()
        if (".spec." in path or ".status." in path)
        and not path.endswith(("*", "[]"))
        and not schema.get("description")
    ]
    assert missing == []


def test_names_columns_and_subresources() -> None:
    pools = crd(NodePool)["spec"]
    assert pools["names"] == {
        "kind": "NodePool",
        "listKind": "NodePoolList",
        "plural": "nodepools",
        "singular": "nodepool",
        "categories": ["karpenter"],
    }
    assert pools["scope"] == "Cluster"
    version = pools["versions"][0]
    assert version["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.nodes",
        },
    }
    columns = [
        (column["name"], column.get("priority", 0))
        for column in version["additionalPrinterColumns"]
    ]
    assert columns == [
        ("NodeClass", 0),
        ("Nodes", 0),
        ("Ready", 0),
        ("Age", 0),
        ("Weight", 1),
        ("CPU", 1),
        ("Memory", 1),
    ]
    claims = [column.name for column in NodeClaim.COLUMNS if not column.priority]
    assert claims == ["Type", "Capacity", "Zone", "Node", "Ready", "Age"]
    short = {model.KIND: model.SHORT_NAMES for model in MODELS if model.SHORT_NAMES}
    assert short == {"NodeOverlay": ("overlays",), "CapacityBuffer": ("cb",)}


def test_the_command_writes_files(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    result = CliRunner().invoke(command, ["--output", str(folder)])
    assert result.exit_code == 0, result.output
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert written == files()
    assert result.stdout == ""


def test_the_command_prints_documents() -> None:
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 0, result.output
    assert list(yaml.safe_load_all(result.stdout)) == crds()


def test_the_command_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(command, ["--output", str(tmp_path / "file" / "folder")])
    assert result.exit_code == 1
    assert "cannot write to" in result.output


def test_reading_claims_loads_neither_cel_nor_yaml() -> None:
    code = (
        "import sys, autoctl.api.nodeclaim, autoctl.api.nodepool, autoctl.api.nodeclass\n"
        "print([name for name in ('cel', 'yaml', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
