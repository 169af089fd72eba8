"""The write gate: reads pass always, every write asks first."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from autoctl.operator.gate import GatedApi, GatedExecutor
from autoctl.operator.leader import NotLeadingError
from autoctl.ports.kubernetes import PODS, KubernetesApi

READS = {"get", "list", "watch"}
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "get": (PODS, "p", "ns"),
    "list": (PODS,),
    "create": (PODS, {}),
    "replace": (PODS, {}),
    "patch": (PODS, "p", {}),
    "delete": (PODS, "p"),
    "evict": ("p", "ns"),
    "bind": ("p", "ns", "n"),
}


class Recorder:
    """Takes every call of the seam and notes it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*_: Any, **__: Any) -> dict[str, Any]:
            self.calls.append(name)
            return {}

        return call


def closed() -> None:
    raise NotLeadingError("somebody else leads")


def test_every_method_of_the_seam_is_known_here() -> None:
    methods = {n for n, m in inspect.getmembers(KubernetesApi, callable) if not n.startswith("_")}
    assert methods == set(ARGUMENTS) | {"watch"}


@pytest.mark.parametrize("method", sorted(ARGUMENTS))
async def test_only_reads_pass_a_closed_gate(method: str) -> None:
    api = Recorder()
    gated = GatedApi(api, closed)  # type: ignore[arg-type]
    call = getattr(gated, method)(*ARGUMENTS[method])
    if method in READS:
        await call
    else:
        with pytest.raises(NotLeadingError):
            await call
    assert api.calls == ([method] if method in READS else [])
    open_gate = GatedApi(api, lambda: None)  # type: ignore[arg-type]
    await getattr(open_gate, method)(*ARGUMENTS[method])
    assert api.calls[-1] == method


@pytest.mark.parametrize(
    ("operation", "writes"),
    [
        ("describe_instances", False),
        ("get_caller_identity", False),
        ("receive_message", False),
        ("create_fleet", True),
        ("terminate_instances", True),
        ("delete_message", True),
    ],
)
async def test_requests_to_aws_that_change_something_pass_the_gate(
    operation: str, writes: bool
) -> None:
    class Direct:
        async def run(self, function: Any, /, **arguments: Any) -> Any:
            return function(**arguments)

    def method(**_: Any) -> str:
        return "done"

    method.__name__ = operation
    executor = GatedExecutor(Direct(), closed)
    if writes:
        with pytest.raises(NotLeadingError):
            await executor.run(method)
    else:
        assert await executor.run(method) == "done"
    assert await GatedExecutor(Direct(), lambda: None).run(method) == "done"
