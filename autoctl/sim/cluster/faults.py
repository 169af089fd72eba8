"""Faults and observation points of the simulated API server.

A scenario or a test adds rules; every request through the API asks them. The built-in controllers
do not pass here: the cluster itself stays whole while its clients suffer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final, Literal, TypeAlias, TypeVar

from autoctl.ports.kubernetes import ApiError, Resource, Unavailable

Verb: TypeAlias = Literal[
    "get", "list", "watch", "create", "replace", "patch", "delete", "evict", "bind"
]
RuleT = TypeVar("RuleT")
MUTATING: Final = frozenset({"create", "replace", "patch", "delete", "evict", "bind"})


class Point(StrEnum):
    """Where a request's observer is called."""

    BEFORE = "before"
    """The request arrived; nothing has been written."""
    AFTER = "after"
    """The write is committed; the caller has not seen the answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as faults and observers see it; `name` is empty where there is none yet."""

    verb: Verb
    resource: Resource
    name: str = ""
    namespace: str = ""
    subresource: str = ""

    @property
    def mutating(self) -> bool:
        """Whether the request may change the store."""
        return self.verb in MUTATING


Observer: TypeAlias = Callable[[Request, Point], None]
"""Called around each mutating request; may cancel the calling task to kill a client there."""


def unavailable() -> ApiError:
    """The default injected error: a 503 as a restarting API server gives it."""
    return Unavailable("the server is currently unable to handle the request", code=503)


@dataclass(slots=True)
class ErrorRule:
    """Requests that fail: the next `count` (or all, when `None`), each with `probability`."""

    verbs: frozenset[str] = frozenset()
    resources: frozenset[Resource] = frozenset()
    error: Callable[[], ApiError] = unavailable
    count: int | None = None
    probability: float = 1.0
    after_commit: bool = False
    """Fail after the write took effect: the answer got lost."""
    matched: int = field(default=0, init=False)

    def applies(self, request: Request) -> bool:
        """Whether the request is of those that may fail; empty sets mean any."""
        if self.count is not None and self.matched >= self.count:
            return False
        return (not self.verbs or request.verb in self.verbs) and (
            not self.resources or request.resource in self.resources
        )


class Faults:
    """The rules in force. One seeded generator decides about probabilities."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"{seed}/faults")  # noqa: S311 - reproducible, not secret
        self._rules: dict[int, ErrorRule] = {}
        self._next = 0
        self._observers: list[Observer] = []
        self._slow: dict[int, tuple[frozenset[str], float]] = {}
        self._blocked: dict[int, Callable[[str, str], bool]] = {}

    def fail(self, rule: ErrorRule) -> Callable[[], None]:
        """Put an error rule in force; call the result to lift it."""
        return self._add(self._rules, rule)

    def slow_down(self, seconds: float, verbs: frozenset[str] = frozenset()) -> Callable[[], None]:
        """Delay requests (of these verbs, or all) by `seconds`; call the result to lift it."""
        return self._add(self._slow, (verbs, seconds))

    def block_evictions(
        self, pods: Callable[[str, str], bool] = lambda _namespace, _name: True
    ) -> Callable[[], None]:
        """Answer evictions of the pods (namespace, name) with 429; call the result to lift it."""
        return self._add(self._blocked, pods)

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer` before and after every mutating request; the result ends that."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def delay(self, request: Request) -> float:
        """Additional seconds that the request takes."""
        return sum(s for verbs, s in self._slow.values() if not verbs or request.verb in verbs)

    def error(self, request: Request, *, after_commit: bool = False) -> ApiError | None:
        """The error that the request fails with now, if any."""
        for rule in self._rules.values():
            if rule.after_commit != after_commit or not rule.applies(request):
                continue
            if rule.probability >= 1.0 or self._rng.random() < rule.probability:
                rule.matched += 1
                return rule.error()
        return None

    def eviction_blocked(self, namespace: str, name: str) -> bool:
        """Whether a rule keeps this pod from being evicted."""
        return any(blocked(namespace, name) for blocked in self._blocked.values())

    def notify(self, request: Request, point: Point) -> bool:
        """Tell the observers of a mutating request; whether there were any."""
        if not request.mutating:
            return False
        for observer in list(self._observers):
            observer(request, point)
        return bool(self._observers)

    def _add(self, rules: dict[int, RuleT], rule: RuleT) -> Callable[[], None]:
        handle, self._next = self._next, self._next + 1
        rules[handle] = rule

        def lift() -> None:
            rules.pop(handle, None)

        return lift
