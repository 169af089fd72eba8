"""The real API server says about every manifest of the tables what the offline validation says."""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.request
from typing import Any

import pytest
from admission_table import Case, core_cases, custom_cases

from autoctl.api.validation import apply_defaults, find_model
from controlplane.plane import ControlPlane

UNKNOWN_FIELD = re.compile(r'unknown field "([^"]*)"')
FIELD_MANAGER = "fieldManager=test&fieldValidation=Strict"


class Server:
    """Sends objects straight to the API server: kubectl would add words of its own."""

    def __init__(self, plane: ControlPlane, token: str) -> None:
        self._url = plane.server
        self._token = token
        self._tls = ssl.create_default_context(cafile=str(plane.ca_file))

    def send(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        """Status code and decoded answer."""
        request = urllib.request.Request(  # noqa: S310 -- of this machine
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, context=self._tls) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture(scope="module")
def server(plane: ControlPlane) -> Server:
    """As a cluster administrator."""
    name = "admission-test"
    plane.kubectl("create", "serviceaccount", name, "-n", "default")
    plane.kubectl(
        "create",
        "clusterrolebinding",
        name,
        "--clusterrole=cluster-admin",
        f"--serviceaccount=default:{name}",
    )
    return Server(plane, plane.mint_token("default", name))


def collection(obj: dict[str, Any]) -> str:
    """The URL path that objects of this kind are created at."""
    version, kind = obj["apiVersion"], obj["kind"]
    model = find_model(version, kind)
    plural = f"{kind.lower()}s" if model is None else model.PLURAL
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = obj["metadata"].get("namespace")
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


def verdict(status: int, answer: dict[str, Any]) -> set[tuple[str, str]]:
    """The answer as (field, message): of the causes, or of strict decoding."""
    if status < 300:
        return set()
    if status == 400:
        # Strict decoding names the fields in its message alone.
        fields = UNKNOWN_FIELD.findall(answer["message"])
        assert fields, answer
        return {(field, f'unknown field "{field}"') for field in fields}
    assert status == 422, answer
    return {(cause["field"], cause["message"]) for cause in answer["details"]["causes"]}


def try_case(server: Server, case: Case) -> set[tuple[str, str]]:
    """A dry run of the case; for a change, of the change to an object that is really there."""
    path = collection(case.manifest)
    dry = f"?dryRun=All&{FIELD_MANAGER}"
    if case.old is None:
        return verdict(*server.send("POST", path + dry, case.manifest))
    status, stored = server.send("POST", f"{path}?{FIELD_MANAGER}", case.old)
    assert status == 201, stored
    place = f"{path}/{case.old['metadata']['name']}"
    try:
        revision = {"resourceVersion": stored["metadata"]["resourceVersion"]}
        changed = case.manifest | {"metadata": case.manifest["metadata"] | revision}
        return verdict(*server.send("PUT", place + dry, changed))
    finally:
        server.send("DELETE", place, None)


@pytest.mark.parametrize("case", custom_cases(), ids=str)
def test_custom_resources(server: Server, case: Case) -> None:
    assert try_case(server, case) == case.errors


@pytest.mark.parametrize("case", core_cases(), ids=str)
def test_core_kinds(server: Server, case: Case) -> None:
    assert try_case(server, case) == case.errors


@pytest.mark.parametrize(
    "case", [case for case in custom_cases() if not case.errors and case.old is None], ids=str
)
def test_defaults_are_those_the_server_fills_in(server: Server, case: Case) -> None:
    path = f"{collection(case.manifest)}?dryRun=All&{FIELD_MANAGER}"
    status, stored = server.send("POST", path, case.manifest)
    assert status == 201, stored
    assert stored["spec"] == apply_defaults(case.manifest)["spec"]


def test_a_pool_scales_by_its_subresource(plane: ControlPlane) -> None:
    case = next(case for case in custom_cases() if case.name == "a static pool")
    plane.apply(case.manifest)
    try:
        plane.kubectl("scale", "nodepool", "case", "--replicas=3")
        assert plane.get("nodepool", "case")["spec"]["replicas"] == 3
    finally:
        plane.kubectl("delete", "nodepool", "case")


def test_kubectl_knows_short_names_and_columns(plane: ControlPlane) -> None:
    accepted = next(case for case in custom_cases() if case.name == "the general-purpose pool")
    plane.apply(accepted.manifest)
    try:
        heading, row = plane.kubectl("get", "karpenter").strip().splitlines()[:2]
        assert heading.split() == ["NAME", "NODECLASS", "NODES", "READY", "AGE"]
        assert row.split()[0].endswith("general-purpose")
        assert row.split()[1] == "default"
    finally:
        plane.kubectl("delete", "nodepool", "general-purpose")
    assert plane.kubectl("get", "overlays,cb", "-A") == ""
