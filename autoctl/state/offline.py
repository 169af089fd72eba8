"""A Snapshot from manifests: what `plan -f`, `explain -f` and `simulate` start from.

Custom resources are defaulted and validated exactly as the API server would do it; what it would
reject raises a `ManifestError` naming the file, the document and the field. A pod whose scheduling
fields cannot be used is kept: the solver reports it as unschedulable and goes on with the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import pydantic

from autoctl.api import core
from autoctl.api.capacitybuffer import CapacityBuffer
from autoctl.api.labels import NAMESPACE_NAME
from autoctl.api.nodeclaim import NodeClaim
from autoctl.api.nodeclass import NodeClass
from autoctl.api.nodeoverlay import NodeOverlay
from autoctl.api.nodepool import NodePool
from autoctl.api.selector_validation import mapping
from autoctl.api.validation import apply_defaults, validate_core, validate_manifest
from autoctl.catalog.model import Catalog, InstanceType
from autoctl.ports.kubernetes import POD_TEMPLATES, Object
from autoctl.state.budgets import with_status
from autoctl.state.buffers import SCALABLE, Reference, resolve_all
from autoctl.state.expansion import (
    EXPANDED_KINDS,
    MOST_PODS,
    TooManyPodsError,
    admitted,
    admitted_template,
    expand_workloads,
    priority_class_fault,
)
from autoctl.state.manifests import Document
from autoctl.state.snapshot import Snapshot

T = TypeVar("T")
M = TypeVar("M", bound=pydantic.BaseModel)

_CORE_KINDS: Mapping[tuple[str, str], tuple[str, type[Any], bool]] = {
    ("v1", "Pod"): ("pods", core.Pod, True),
    ("v1", "Node"): ("nodes", core.Node, False),
    ("v1", "Namespace"): ("namespaces", core.Namespace, False),
    ("v1", "PersistentVolume"): ("volumes", core.PersistentVolume, False),
    ("v1", "PersistentVolumeClaim"): ("volume_claims", core.PersistentVolumeClaim, True),
    ("apps/v1", "DaemonSet"): ("daemon_sets", core.DaemonSet, True),
    ("policy/v1", "PodDisruptionBudget"): (
        "disruption_budgets",
        core.PodDisruptionBudget,
        True,
    ),
    ("storage.k8s.io/v1", "StorageClass"): ("storage_classes", core.StorageClass, False),
    ("storage.k8s.io/v1", "CSINode"): ("csi_nodes", core.CSINode, False),
    ("storage.k8s.io/v1", "VolumeAttachment"): (
        "volume_attachments",
        core.VolumeAttachment,
        False,
    ),
}
"""API version and kind -> the Snapshot's field, the struct, whether it is namespaced."""

_BUFFER = ("autoscaling.x-k8s.io/v1beta1", "CapacityBuffer")
_CUSTOM_KINDS: Mapping[tuple[str, str], tuple[str, type[Any]]] = {
    ("karpenter.sh/v1", "NodePool"): ("node_pools", NodePool),
    ("karpenter.sh/v1", "NodeClaim"): ("node_claims", NodeClaim),
    ("karpenter.sh/v1alpha1", "NodeOverlay"): ("node_overlays", NodeOverlay),
    ("eks.amazonaws.com/v1", "NodeClass"): ("node_classes", NodeClass),
}


@dataclass(frozen=True)
class Offline:
    """A snapshot read from files, and what was passed over in them."""

    snapshot: Snapshot
    ignored: Mapping[str, int]
    """Kind -> number of objects that planning does not read."""


def snapshot_of(
    documents: Sequence[Document],
    *,
    now: datetime,
    catalog: Catalog,
    assume_node_class: bool,
    referents: Sequence[Document] = (),
) -> Offline:
    """Build the snapshot. Raises `ManifestError`.

    `referents` are objects that CapacityBuffers may refer to, beside those among `documents`, and
    that stand for nothing else.

    With `assume_node_class` and no NodeClass among the documents, every NodePool's `nodeClassRef`
    resolves to a ready NodeClass with all zones of `catalog`. Otherwise NodePools and NodeClaims
    that refer to other kinds are other controllers', and passed over.
    """
    fields: dict[str, Any] = {entry[0]: {} for entry in _CORE_KINDS.values()}
    fields |= {entry[0]: {} for entry in _CUSTOM_KINDS.values()}
    ignored: dict[str, int] = {}
    buffers: list[CapacityBuffer] = []
    priorities, runtime_classes = _admission(documents)
    workloads: list[Document] = []
    pods: list[Document] = []
    inadmissible: dict[str, str] = {}
    seen: dict[tuple[str, str, str], Document] = {}
    for document in documents:
        version_kind = (str(document.object["apiVersion"]), document.kind)
        if version_kind in _CUSTOM_KINDS:
            field, model = _CUSTOM_KINDS[version_kind]
            _once(document, seen)
            value = _custom(document, model)
            fields[field][value.metadata.name] = value
        elif version_kind == _BUFFER:
            _once(document, seen)
            buffers.append(_custom(document, CapacityBuffer))
        elif version_kind == ("v1", "Pod"):
            _once(document, seen)
            pods.append(document)
        elif version_kind in _CORE_KINDS:
            field, struct, namespaced = _CORE_KINDS[version_kind]
            _once(document, seen)
            _check_core(document)
            given = document
            if field == "daemon_sets":
                filled = admitted_template(document.object, priorities, runtime_classes)
                given = replace(document, object=filled)
            value = _decode(given, struct)
            fields[field][_key(value.metadata, namespaced)] = value
        elif version_kind in EXPANDED_KINDS:
            _once(document, seen)
            workloads.append(document)
        elif validate_manifest(document.object):
            raise document.error(*_first(validate_manifest(document.object)))
        elif version_kind not in (*_ADMISSION_KINDS, ("v1", POD_TEMPLATES.kind)):
            _refuse_other_version(document)
            ignored[document.kind] = ignored.get(document.kind, 0) + 1
    pods += _expanded(workloads, pods)
    for document in pods:
        if document.kind == "Pod":
            whole = admitted(document.object, priorities, runtime_classes)
            pod = _decode(
                Document(document.source, document.number, whole, document.item), core.Pod
            )
            fields["pods"][pod.key] = pod
            fault = priority_class_fault(document.object, priorities)
            if fault is not None and not pod.spec.node_name:
                inadmissible[pod.key] = fault
        else:
            claim = _decode(document, core.PersistentVolumeClaim)
            fields["volume_claims"].setdefault(_key(claim.metadata, True), claim)
    fields["namespaces"] = _with_names(fields["namespaces"], fields["pods"].values())
    fields["disruption_budgets"] = with_status(
        fields["disruption_budgets"], fields["pods"].values()
    )
    if assume_node_class and not fields["node_classes"]:
        fields["node_classes"] = _assumed_classes(fields["node_pools"].values(), catalog)
        fields["assumed_classes"] = frozenset(fields["node_classes"])
    else:
        _leave_foreign(fields, ignored)
    named = _by_reference((*documents, *referents)) if buffers else {}
    snapshot = Snapshot(
        now=now,
        buffers=resolve_all(buffers, named.get),
        inadmissible=inadmissible,
        instance_types={
            name: launchable(node_class, catalog)
            for name, node_class in fields["node_classes"].items()
        },
        **fields,
    )
    return Offline(snapshot, ignored)


def _leave_foreign(fields: dict[str, Any], ignored: dict[str, int]) -> None:
    """Take NodePools and NodeClaims of other controllers out of `fields`, and count them."""
    for field, kind in (("node_pools", "NodePool"), ("node_claims", "NodeClaim")):
        for name, value in tuple(fields[field].items()):
            spec = value.spec.template.spec if kind == "NodePool" else value.spec
            reference = spec.node_class_ref
            if not reference.ours:
                del fields[field][name]
                what = f"{kind} of {reference.kind}.{reference.group}"
                ignored[what] = ignored.get(what, 0) + 1


def _by_reference(documents: Iterable[Document]) -> dict[Reference, Object]:
    """The objects that a CapacityBuffer can refer to."""
    resources = (POD_TEMPLATES, *(resource for resource, _ in SCALABLE.values()))
    kinds = {(r.api_version, r.kind): r for r in resources}
    found: dict[Reference, Object] = {}
    for document in documents:
        resource = kinds.get((str(document.object["apiVersion"]), document.kind))
        if resource is not None:
            metadata = document.object.get("metadata") or {}
            namespace = metadata.get("namespace") or "default"
            found[Reference(resource, namespace, metadata.get("name", ""))] = document.object
    return found


def launchable(node_class: NodeClass, catalog: Catalog) -> tuple[InstanceType, ...]:
    """The catalog's types with the offerings in the zones of the NodeClass's resolved subnets.

    A NodeClass that has no status yet (it was never applied) is taken to reach every zone.
    """
    zones = {s.zone for s in node_class.status.subnets or ()}
    if not zones:
        return tuple(catalog.instance_types.values())
    kept = []
    for instance_type in catalog.instance_types.values():
        offerings = tuple(o for o in instance_type.offerings if o.zone in zones)
        if offerings:
            kept.append(replace(instance_type, offerings=offerings))
    return tuple(kept)


_ADMISSION_KINDS = frozenset(
    {("scheduling.k8s.io/v1", "PriorityClass"), ("node.k8s.io/v1", "RuntimeClass")}
)


def _admission(documents: Iterable[Document]) -> tuple[dict[str, int], dict[str, dict[str, Any]]]:
    priorities: dict[str, int] = {}
    runtime_classes: dict[str, dict[str, Any]] = {}
    for document in documents:
        body = document.object
        name = (body.get("metadata") or {}).get("name", "")
        if not isinstance(name, str):
            raise document.error("metadata.name", f"expected a string, got {name!r}")
        match (body["apiVersion"], body["kind"]):
            case ("scheduling.k8s.io/v1", "PriorityClass"):
                value = body.get("value") or 0
                if not isinstance(value, int) or isinstance(value, bool):
                    raise document.error("value", f"expected an integer, got {value!r}")
                priorities[name] = value
                if body.get("globalDefault"):
                    priorities[""] = value
            case ("node.k8s.io/v1", "RuntimeClass"):
                for path, given in _runtime_class_fields(body):
                    if not isinstance(given, _FORMS[path]):
                        form = "an object" if _FORMS[path] is dict else "a list"
                        raise document.error(path, f"expected {form}, got {given!r}")
                runtime_classes[name] = body
    return priorities, runtime_classes


_FORMS: Mapping[str, type] = {
    "overhead": dict,
    "overhead.podFixed": dict,
    "scheduling": dict,
    "scheduling.nodeSelector": dict,
    "scheduling.tolerations": list,
}


def _runtime_class_fields(body: Object) -> Iterable[tuple[str, Any]]:
    """The fields of a RuntimeClass that bear on its pods, as far as they are set, outer first."""
    for path in _FORMS:
        outer, _, inner = path.partition(".")
        holder = body.get(outer)
        given = holder.get(inner) if inner and isinstance(holder, dict) else holder
        if given is not None:
            yield path, given


def _refuse_other_version(document: Document) -> None:
    """Refuse a kind that planning reads in a version that it does not know.

    To pass it over, as other kinds, would be to plan without it.
    """
    version = str(document.object["apiVersion"])
    known = _VERSIONS.get((_group(version), document.kind))
    if known is not None:
        detail = f'no matches for kind "{document.kind}" in version "{version}", expected {known}'
        raise document.error("apiVersion", detail)


def _group(version: str) -> str:
    return version.rpartition("/")[0]


_VERSIONS: Mapping[tuple[str, str], str] = {
    (_group(version), kind): version
    for version, kind in (
        *_CORE_KINDS,
        *_CUSTOM_KINDS,
        *EXPANDED_KINDS,
        *_ADMISSION_KINDS,
        _BUFFER,
    )
}


def _once(document: Document, seen: dict[tuple[str, str, str], Document]) -> None:
    metadata = document.object.get("metadata") or {}
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        raise document.error("metadata.name", "Required value")
    namespace = metadata.get("namespace") or ""
    if not isinstance(namespace, str):
        raise document.error("metadata.namespace", f"expected a string, got {namespace!r}")
    key = (document.kind, namespace, name)
    first = seen.setdefault(key, document)
    if first is not document:
        raise document.error(
            "metadata.name",
            f"the same object is also in {first.source}, document {first.number}",
        )


def _first(errors: Sequence[Any]) -> tuple[str, str]:
    return errors[0].field, errors[0].message


def _custom(document: Document, model: type[M]) -> M:
    errors = validate_manifest(document.object)
    if errors:
        raise document.error(errors[0].field, "; ".join(e.message for e in errors))
    try:
        return model.model_validate(apply_defaults(document.object))
    except pydantic.ValidationError as error:
        detail = error.errors()[0]
        raise document.error(".".join(str(p) for p in detail["loc"]), detail["msg"]) from error


def _check_core(document: Document) -> None:
    errors = validate_core(document.object)
    if errors:
        raise document.error(errors[0].field, errors[0].message)


def _decode(document: Document, struct: type[T]) -> T:
    try:
        return msgspec.convert({k: v for k, v in document.object.items() if v is not None}, struct)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        place = _named(path.rstrip("`"), document.object, message)
        raise document.error(place, message) from error


def _named(path: str, value: Any, message: str) -> str:
    """The path with the keys of maps, which msgspec leaves out: `labels[app]` for `labels[...]`."""
    found = ""
    for part in _STEPS.findall(path):
        if part == "[...]":
            wrong = (k for k, v in mapping(value).items() if _is_meant(v, message))
            part = f"[{next(wrong, '...')}]"
        found += part
        key = part.strip(".[]")
        if isinstance(value, list) and key.isdigit():
            value = value[int(key)]
        else:
            value = mapping(value).get(key)
    return found


_STEPS = re.compile(r"\[[^\]]*\]|\.?[^.\[]+")


def _is_meant(value: Any, message: str) -> bool:
    """Whether msgspec says this of the value: of its type, or of a number's bound."""
    if "`int` <=" in message or "`int` >=" in message:
        return isinstance(value, int) and not -(2**63) <= value < 2**63
    return f"got `{_json_type(value)}`" in message


def _json_type(value: Any) -> str:
    return "array" if isinstance(value, list) else type(value).__name__.replace("dict", "object")


def _key(metadata: core.ObjectMeta, namespaced: bool) -> str:
    return f"{metadata.namespace or 'default'}/{metadata.name}" if namespaced else metadata.name


def _with_names(
    given: Mapping[str, core.Namespace], pods: Iterable[core.Pod]
) -> dict[str, core.Namespace]:
    """The namespaces, those of pods included, with the label that the API server puts on them."""
    found: dict[str, core.Namespace] = {}
    for name in sorted({*given, *(p.metadata.namespace or "default" for p in pods)}):
        metadata = given[name].metadata if name in given else core.ObjectMeta(name=name)
        labels = {**(metadata.labels or {}), NAMESPACE_NAME: name}
        found[name] = core.Namespace(metadata=msgspec.structs.replace(metadata, labels=labels))
    return found


def _expanded(workloads: Sequence[Document], pods: Sequence[Document]) -> list[Document]:
    everyone = [p.object for p in pods]
    result = []
    room = MOST_PODS
    for workload in workloads:
        try:
            made = list(expand_workloads([workload.object], everyone, room))
        except TooManyPodsError as error:
            raise workload.error(error.path, str(error)) from error
        except RecursionError as error:
            raise workload.error("spec", "nested too deeply to be expanded into pods") from error
        except (msgspec.ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise workload.error("spec", f"cannot be expanded into pods: {error}") from error
        room -= sum(o["kind"] == "Pod" for o in made)
        result += [Document(workload.source, workload.number, o, workload.item) for o in made]
    return result


def _assumed_classes(pools: Iterable[NodePool], catalog: Catalog) -> dict[str, NodeClass]:
    names = {p.spec.template.spec.node_class_ref.name for p in pools}
    return {
        name: NodeClass.model_validate(
            {
                "apiVersion": "eks.amazonaws.com/v1",
                "kind": "NodeClass",
                "metadata": {"name": name},
                "spec": {
                    "role": "assumed",
                    "subnetSelectorTerms": [{"tags": {"assumed": "*"}}],
                    "securityGroupSelectorTerms": [{"tags": {"assumed": "*"}}],
                },
                "status": {
                    "subnets": [
                        {"id": f"subnet-{index:017x}", "zone": zone}
                        for index, zone in enumerate(catalog.zones)
                    ],
                    "conditions": [
                        {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
                    ],
                },
            }
        )
        for name in sorted(names)
    }
