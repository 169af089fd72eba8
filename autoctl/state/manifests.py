"""Reading Kubernetes objects from files, as `kubectl apply -f` would.

A source is a file, a folder (searched recursively for `.yaml`, `.yml` and `.json`), or `-` for
standard input. A file holds YAML documents, one JSON value, or lists of objects (`kind: List`, or
any `...List` with `items`), which are taken apart.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import yaml

SUFFIXES = (".yaml", ".yml", ".json")
TOO_DEEP = "expected YAML or JSON of a few levels, got one nested too deeply to be read"


class ManifestError(ValueError):
    """A manifest that cannot be used: which one, which field, and what was expected there.

    `source` is the file, `document` the number of the document in it (from 1; 0 when the file as a
    whole is meant), `path` the field's path inside the object (may be empty).
    """

    def __init__(self, source: str, document: int, path: str, expected: str) -> None:
        self.source = source
        self.document = document
        self.path = path
        self.expected = expected
        where = source if not document else f"{source}: document {document}"
        super().__init__(f"{where}: {path}: {expected}" if path else f"{where}: {expected}")


@dataclass(frozen=True, slots=True)
class Document:
    """One object and where it was found (`item` counts inside a list, from 0)."""

    source: str
    number: int
    object: dict[str, Any]
    item: int | None = None

    @property
    def kind(self) -> str:
        return str(self.object.get("kind", ""))

    def error(self, path: str, expected: str) -> ManifestError:
        """An error about a field of this object."""
        place = path if self.item is None else f"items[{self.item}].{path}".rstrip(".")
        metadata = self.object.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        what = f"{self.kind or 'object'} {name}: " if name else ""
        return ManifestError(self.source, self.number, place, what + expected)


class _Loader(yaml.CSafeLoader):
    """YAML as the API server reads it: a timestamp is a string, a key given twice an error."""


_OTHERWISE = {f"tag:yaml.org,2002:{name}" for name in ("timestamp", "int", "float")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag not in _OTHERWISE]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
# Numbers as Go reads them: `12:30` is no number in base 60, `1e3` is one.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float, bool)):
            raise yaml.constructor.ConstructorError(
                None, None, "a key must be a scalar", key_node.start_mark
            )
        if key in mapping:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is given twice", key_node.start_mark
            )
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_Loader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


def load_manifests(sources: Iterable[str]) -> list[Document]:
    """Return every object of `sources`, in order.

    Raises `ManifestError` for a source that is not there, is not text, is not YAML or JSON, or
    holds something that is not a Kubernetes object, or is nested too deeply to be read.
    """
    documents: list[Document] = []
    for source in sources:
        for name, text in _texts(source):
            documents.extend(parse_documents(name, text))
    return documents


def parse_documents(source: str, text: str) -> Iterator[Document]:
    """Yield the objects of one file's text. Raises `ManifestError`."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            values: list[Any] = [msgspec.json.decode(text)]
        except RecursionError as error:
            raise ManifestError(source, 1, "", TOO_DEEP) from error
        except msgspec.DecodeError:
            # Flow-style YAML also begins with a brace; if it is not that either, its error tells.
            values = list(_yaml_values(source, text))
    else:
        values = list(_yaml_values(source, text))
    for number, value in enumerate(values, start=1):
        if value is None:
            continue
        yield from _objects(source, number, value)


def _texts(source: str) -> Iterator[tuple[str, str]]:
    if source == "-":
        yield "<stdin>", _text("<stdin>", sys.stdin.read)
        return
    for file in _files(source):
        yield str(file), _text(str(file), partial(file.read_text, encoding="utf-8"))


def _files(source: str) -> list[Path]:
    """The file itself, or what is to be read of the folder."""
    path = Path(source)
    try:
        if not path.is_dir():
            return [path]
        files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    except OSError as error:  # a folder on the way to it that may not be entered
        raise ManifestError(source, 0, "", error.strerror or str(error)) from error
    if not files:
        raise ManifestError(source, 0, "", f"no {', '.join(SUFFIXES)} file in this folder")
    return files


def _text(source: str, read: Callable[[], str]) -> str:
    try:
        return read()
    except OSError as error:
        raise ManifestError(source, 0, "", error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise ManifestError(source, 0, "", f"expected UTF-8 text: {error.reason}") from error


def _yaml_values(source: str, text: str) -> Iterator[Any]:
    number = 0
    try:
        for value in yaml.load_all(text, Loader=_Loader):
            number += 1
            yield value
    except RecursionError as error:
        raise ManifestError(source, number + 1, "", TOO_DEEP) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ManifestError(
            source, number + 1, "", f"{line}expected YAML or JSON: {problem}"
        ) from error


def _objects(source: str, number: int, value: Any) -> Iterator[Document]:
    if not isinstance(value, dict):
        yield _checked(Document(source, number, value))
        return
    kind, items = str(value.get("kind", "")), value.get("items")
    if not kind.endswith("List"):
        if isinstance(items, list):
            raise ManifestError(source, number, "kind", "expected List beside items")
        yield _checked(Document(source, number, value))
        return
    if items is not None and not isinstance(items, list):
        raise ManifestError(
            source, number, "items", f"expected a list of objects, got {type(items).__name__}"
        )
    for index, item in enumerate(_flat(items or [])):
        yield _checked(Document(source, number, _of_list(item, value, kind), index))


def _flat(items: list[Any]) -> Iterator[Any]:
    """The items, with those of lists among them in their place."""
    for item in items:
        inner = item.get("items") if isinstance(item, dict) else None
        if isinstance(inner, list) and str(item.get("kind", "")).endswith("List"):
            yield from _flat([_of_list(i, item, str(item["kind"])) for i in inner])
        else:
            yield item


def _of_list(item: Any, whole: dict[str, Any], kind: str) -> Any:
    """The item with the kind that its list says (`PodList`); the API leaves it out there."""
    if kind == "List" or not isinstance(item, dict) or "kind" in item:
        return item
    return {"apiVersion": whole.get("apiVersion"), "kind": kind.removesuffix("List"), **item}


def _checked(document: Document) -> Document:
    if not isinstance(document.object, dict):
        raise ManifestError(
            document.source,
            document.number,
            "" if document.item is None else f"items[{document.item}]",
            f"expected an object with apiVersion and kind, got {type(document.object).__name__}",
        )
    for name in ("apiVersion", "kind"):
        if not isinstance(document.object.get(name), str) or not document.object[name]:
            raise document.error(name, "Required value")
    metadata = document.object.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise document.error("metadata", f"expected an object, got {type(metadata).__name__}")
    return document
