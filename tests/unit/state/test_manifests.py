"""Reading manifests: what is found, and what is said of what cannot be read."""

import errno
import io
from pathlib import Path

import pytest

from autoctl.state.manifests import ManifestError, load_manifests, parse_documents


def kinds(text: str) -> list[str]:
    return [d.kind for d in parse_documents("x.yaml", text)]


def test_documents_and_lists_are_taken_apart() -> None:
    text = """
apiVersion: v1
kind: Pod
metadata: {name: a}
---
# nothing here
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: n}}
- {apiVersion: v1, kind: Pod, metadata: {name: b}}
"""
    assert kinds(text) == ["Pod", "Node", "Pod"]


def test_json_is_read_as_well() -> None:
    assert kinds('{"apiVersion": "v1", "kind": "PodList", "items": []}') == []
    assert kinds('{"apiVersion": "v1", "kind": "Pod"}') == ["Pod"]


def test_lists_in_lists_are_taken_apart() -> None:
    inner = "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Node}]}"
    pods = "{apiVersion: v1, kind: PodList, items: [{metadata: {name: p}}]}"
    assert kinds(f"{{apiVersion: v1, kind: List, items: [{inner}, {pods}]}}") == ["Node", "Pod"]


def test_items_of_a_kind_need_not_say_it_again() -> None:
    (pool,) = parse_documents(
        "x", "{apiVersion: karpenter.sh/v1, kind: NodePoolList, items: [{metadata: {name: a}}]}"
    )
    assert (pool.object["apiVersion"], pool.kind) == ("karpenter.sh/v1", "NodePool")


def test_a_list_of_nothing() -> None:
    assert kinds("{apiVersion: v1, kind: List, items: null}") == []


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("12:30", "12:30"),
        ("1e3", 1000.0),
        ("1.5e-1", 0.15),
        ("-3", -3),
        ("0x1f", 31),
        ("010", 8),
        ("1.2.3", "1.2.3"),
        ("128Mi", "128Mi"),
        ("on", True),
    ],
)
def test_scalars_are_what_the_api_server_takes_them_for(written: str, value: object) -> None:
    (document,) = parse_documents("x", f"{{apiVersion: v1, kind: Pod, spec: {written}}}")
    found = document.object["spec"]
    assert (type(found), found) == (type(value), value)


def test_a_timestamp_stays_text() -> None:
    (document,) = parse_documents(
        "x", "{apiVersion: v1, kind: Pod, metadata: {creationTimestamp: 2026-01-01T00:00:00Z}}"
    )
    assert document.object["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod", "x: document 1: apiVersion: Required value"),
        ("apiVersion: v1", "x: document 1: kind: Required value"),
        ("just text", "x: document 1: expected an object with apiVersion and kind, got str"),
        ("a: b\n---\n: [", "x: document 2: line 3: expected YAML or JSON"),
        ("{apiVersion: v1, kind: Pod, metadata: 3}", "metadata: expected an object, got int"),
        ("{apiVersion: v1, kind: Pod, items: []}", "kind: expected List beside items"),
        ("{apiVersion: v1, kind: List, items: [7]}", "items[0]: expected an object"),
        ("{apiVersion: v1, kind: List, items: x}", "items: expected a list of objects, got str"),
        ("kind: Pod\nkind: Node", "key 'kind' is given twice"),
    ],
)
def test_errors_name_the_place(text: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        list(parse_documents("x", text))
    assert message in str(caught.value)


def test_folders_are_searched(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.yaml").write_text("{apiVersion: v1, kind: Pod, metadata: {name: b}}")
    (tmp_path / "sub" / "a.json").write_text('{"apiVersion": "v1", "kind": "Node"}')
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert [d.kind for d in load_manifests([str(tmp_path)])] == ["Pod", "Node"]


def test_missing_sources(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        load_manifests([str(tmp_path / "nowhere.yaml")])
    with pytest.raises(ManifestError, match=r"no \.yaml, \.yml, \.json file"):
        load_manifests([str(tmp_path)])


def test_a_folder_that_may_not_be_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refused)
    with pytest.raises(ManifestError, match=r"^secret/x: Permission denied$"):
        load_manifests(["secret/x"])


def test_standard_input_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    with pytest.raises(ManifestError, match=r"^<stdin>: expected UTF-8 text: invalid start byte$"):
        load_manifests(["-"])


@pytest.mark.parametrize(
    "text", ["[" * 5000 + "]" * 5000, "a: " + "[" * 5000 + "]" * 5000, '{"a":' * 5000 + "}" * 5000]
)
def test_what_is_nested_too_deeply(text: str) -> None:
    with pytest.raises(ManifestError, match=r"^x: document 1: .* nested too deeply"):
        list(parse_documents("x", text))
