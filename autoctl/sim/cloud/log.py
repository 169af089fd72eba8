"""What was asked of the simulated cloud, for assertions on call counts, rates and outcomes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

OK = "ok"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: `outcome` is `ok` or the error code that was answered."""

    at: datetime
    service: str
    operation: str
    params: Mapping[str, Any]
    outcome: str


class RequestLog:
    """All requests in order, or the last `keep` of them."""

    def __init__(self, keep: int | None = None) -> None:
        self.requests: deque[Request] = deque(maxlen=keep)

    def add(self, request: Request) -> None:
        self.requests.append(request)

    def __len__(self) -> int:
        return len(self.requests)

    def select(
        self,
        operation: str | None = None,
        *,
        service: str | None = None,
        outcome: str | None = None,
    ) -> Iterator[Request]:
        """The requests that match everything given."""
        return (
            request
            for request in self.requests
            if operation in (None, request.operation)
            and service in (None, request.service)
            and outcome in (None, request.outcome)
        )

    def counts(self) -> Counter[str]:
        """Operation -> number of requests."""
        return Counter(request.operation for request in self.requests)

    def busiest_minute(self, operation: str | None = None) -> int:
        """The most requests within any 60 seconds."""
        return busiest_minute(self.select(operation))

    def clear(self) -> None:
        self.requests.clear()


def busiest_minute(requests: Iterable[Request]) -> int:
    """The most requests within any 60 seconds; `requests` are in the order of time."""
    times = [request.at for request in requests]
    most = start = 0
    for end, time in enumerate(times):
        while time - times[start] >= timedelta(minutes=1):
            start += 1
        most = max(most, end - start + 1)
    return most
