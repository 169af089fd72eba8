"""An API server over HTTP with a cluster of any size that is at rest, for `bench startup`.

It lists in chunks, answers discovery, and keeps watches open; what is written to it is answered and
forgotten. Run as a process of its own, so that its memory and CPU are not the operator's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from autoctl.api import labels
from autoctl.api.crd import crds
from autoctl.ports.kubernetes import (
    CUSTOM_RESOURCE_DEFINITIONS,
    FIELD_MANAGER,
    NAMESPACES,
    NODE_CLAIMS,
    NODE_CLASSES,
    NODE_POOLS,
    NODES,
    PODS,
    RESOURCES,
    Object,
    Resource,
)

_VERSION: Final = "1000000"
_CREATED: Final = "2026-01-05T00:00:00Z"
_TYPE: Final = "m7i.4xlarge"
_ZONES: Final = ("us-west-2a", "us-west-2b", "us-west-2c")
_BOOKMARK_SECONDS: Final = 30.0
_PADDING: Final[Object] = {f"f:field-{i}": {"f:value": {}} for i in range(60)}
"""Real objects carry kilobytes of managed fields; they have to be read past as well."""


def cluster_objects(nodes: int, pods: int) -> dict[Resource, list[Object]]:
    """A cluster at rest: pods spread over the nodes of one NodePool, all running."""
    return {
        CUSTOM_RESOURCE_DEFINITIONS: [_established(crd) for crd in crds()],
        NAMESPACES: [_object(NAMESPACES, "default", 0)],
        NODE_POOLS: [_pool()],
        NODE_CLASSES: [_class()],
        NODES: [_node(i) for i in range(nodes)],
        NODE_CLAIMS: [_claim(i) for i in range(nodes)],
        PODS: [_pod(i, _instance(i % nodes)) for i in range(pods if nodes else 0)],
    }


def _object(resource: Resource, name: str, number: int, **fields: Any) -> Object:
    metadata: Object = {
        "name": name,
        "uid": f"{RESOURCES.index(resource):08d}-0000-4000-8000-{number:012d}",
        "resourceVersion": str(number + 1),
        "generation": 1,
        "creationTimestamp": _CREATED,
        "managedFields": [
            {
                "manager": FIELD_MANAGER,
                "operation": "Update",
                "apiVersion": resource.api_version,
                "time": _CREATED,
                "fieldsType": "FieldsV1",
                "fieldsV1": _PADDING,
            }
        ],
        **fields.pop("metadata", {}),
    }
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        **fields,
    }


def _conditions(*types: str) -> list[Object]:
    return [
        {
            "type": kind,
            "status": "True",
            "reason": kind,
            "message": "",
            "lastTransitionTime": _CREATED,
        }
        for kind in types
    ]


def _established(definition: Object) -> Object:
    return {**definition, "status": {"conditions": _conditions("Established")}}


def _pool() -> Object:
    reference = {"group": NODE_CLASSES.group, "kind": NODE_CLASSES.kind, "name": "default"}
    return _object(
        NODE_POOLS,
        "default",
        0,
        spec={
            "template": {"spec": {"nodeClassRef": reference, "requirements": []}},
            "disruption": {"consolidateAfter": "Never"},
        },
        status={"conditions": _conditions("Ready", "ValidationSucceeded", "NodeClassReady")},
    )


def _class() -> Object:
    return _object(
        NODE_CLASSES,
        "default",
        0,
        spec={
            "role": "AmazonEKSAutoNodeRole",
            "subnetSelectorTerms": [{"tags": {"kubernetes.io/role/internal-elb": "1"}}],
            "securityGroupSelectorTerms": [{"tags": {"aws:eks:cluster-name": "autoctl"}}],
        },
    )


def _instance(number: int) -> str:
    return f"i-{number:017x}"


def _labels(number: int) -> dict[str, str]:
    return {
        labels.NODEPOOL: "default",
        labels.INSTANCE_TYPE: _TYPE,
        labels.ZONE: _ZONES[number % len(_ZONES)],
        labels.CAPACITY_TYPE: "on-demand",
        labels.ARCH: "amd64",
        labels.OS: "linux",
        labels.COMPUTE_TYPE: labels.COMPUTE_TYPE_AUTO,
        labels.HOSTNAME: _instance(number),
        labels.REGISTERED: "true",
        labels.INITIALIZED: "true",
    }


def _provider(number: int) -> str:
    return f"aws:///{_ZONES[number % len(_ZONES)]}/{_instance(number)}"


_ROOM: Final = {"cpu": "15890m", "memory": "57691Mi", "pods": "234", "ephemeral-storage": "71Gi"}


def _node(number: int) -> Object:
    return _object(
        NODES,
        _instance(number),
        number,
        metadata={"labels": _labels(number)},
        spec={"providerID": _provider(number)},
        status={
            "capacity": _ROOM,
            "allocatable": _ROOM,
            "conditions": _conditions("Ready"),
            "images": [{"names": [f"registry/image-{i}"], "sizeBytes": 1} for i in range(40)],
        },
    )


def _claim(number: int) -> Object:
    return _object(
        NODE_CLAIMS,
        f"default-{number:05d}",
        number,
        metadata={"labels": _labels(number), "finalizers": ["karpenter.sh/termination"]},
        spec={
            "nodeClassRef": {
                "group": NODE_CLASSES.group,
                "kind": NODE_CLASSES.kind,
                "name": "default",
            },
            "requirements": [
                {"key": labels.INSTANCE_TYPE, "operator": "In", "values": [_TYPE]},
            ],
            "expireAfter": "Never",
        },
        status={
            "providerID": _provider(number),
            "nodeName": _instance(number),
            "capacity": _ROOM,
            "allocatable": _ROOM,
            "conditions": _conditions("Launched", "Registered", "Initialized", "Ready"),
        },
    )


def _pod(number: int, node: str) -> Object:
    application = f"app-{number % 200}"
    return _object(
        PODS,
        f"{application}-{number}",
        number,
        metadata={
            "namespace": "default",
            "labels": {"app": application},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": application,
                    "uid": f"99999999-0000-4000-8000-{number % 200:012d}",
                    "controller": True,
                }
            ],
        },
        spec={
            "nodeName": node,
            "containers": [
                {
                    "name": "main",
                    "image": "registry/image-1",
                    "env": [{"name": f"VARIABLE_{i}", "value": "value"} for i in range(12)],
                    "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}},
                }
            ],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
        },
        status={"phase": "Running", "conditions": _conditions("Ready", "PodScheduled")},
    )


class StaticApi:
    """The server's state: encoded objects by the path of their collection."""

    def __init__(self, objects: dict[Resource, list[Object]]) -> None:
        self._resources = {f"{r.path}/{r.plural}": r for r in RESOURCES}
        self._objects = {f"{r.path}/{r.plural}": found for r, found in objects.items()}
        self._encoded = {
            path: [json.dumps(o).encode() for o in found] for path, found in self._objects.items()
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        path = request.path.rstrip("/")
        if request.method != "GET":
            body = await request.read()
            return web.Response(body=body or b"{}", content_type="application/json")
        discovered = self._discover(path)
        if discovered is not None:
            return web.json_response(discovered)
        if path in self._resources:
            if request.query.get("watch") in ("true", "1"):
                return await self._watch(request, self._resources[path])
            return self._list(path, request)
        return self._get(path)

    def _discover(self, path: str) -> Object | None:
        if path == "/version":
            return {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = sorted({(r.group, r.version) for r in RESOURCES if r.group})
            entries = [
                {
                    "name": group,
                    "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                    "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version},
                }
                for group, version in groups
            ]
            return {"kind": "APIGroupList", "groups": entries}
        served = [r for r in RESOURCES if r.path == path]
        if not served:
            return None
        verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
        return {
            "kind": "APIResourceList",
            "groupVersion": served[0].api_version,
            "resources": [
                {
                    "name": r.plural,
                    "singularName": r.kind.lower(),
                    "kind": r.kind,
                    "namespaced": r.namespaced,
                    "verbs": verbs,
                }
                for r in served
            ],
        }

    def _get(self, path: str) -> web.Response:
        collection, _, name = path.rpartition("/")
        for obj in self._objects.get(collection, ()):
            if obj["metadata"]["name"] == name:
                return web.json_response(obj)
        status = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
        return web.json_response(status, status=404)

    def _list(self, path: str, request: web.Request) -> web.Response:
        resource = self._resources[path]
        items = self._encoded.get(path, [])
        if request.query.get("fieldSelector"):
            # Asked for are pods without a node, and leases of others: there are none.
            items = []
        start = int(request.query.get("continue") or 0)
        stop = start + int(request.query.get("limit") or len(items) or 1)
        metadata = {"resourceVersion": _VERSION}
        if stop < len(items):
            metadata["continue"] = str(stop)
        head = {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": metadata,
        }
        opening = json.dumps(head).encode()[:-1] + b',"items":['
        body = opening + b",".join(items[start:stop]) + b"]}"
        return web.Response(body=body, content_type="application/json")

    async def _watch(self, request: web.Request, resource: Resource) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        bookmark = {
            "type": "BOOKMARK",
            "object": {
                "kind": resource.kind,
                "apiVersion": resource.api_version,
                "metadata": {"resourceVersion": _VERSION},
            },
        }
        while True:
            await response.write(json.dumps(bookmark).encode() + b"\n")
            await asyncio.sleep(_BOOKMARK_SECONDS)


async def _serve(nodes: int, pods: int, ready: Path) -> None:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", StaticApi(cluster_objects(nodes, pods)).handle)
    runner = web.AppRunner(application, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    written = ready.with_suffix(".part")
    written.write_text(f"http://127.0.0.1:{runner.addresses[0][1]}", encoding="utf-8")
    written.rename(ready)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed; the URL is written to the file `--ready-file` names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--pods", type=int, required=True)
    parser.add_argument("--ready-file", type=Path, required=True)
    given = parser.parse_args()
    asyncio.run(_serve(given.nodes, given.pods, given.ready_file))


if __name__ == "__main__":
    main()
