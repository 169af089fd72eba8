"""One way to call AWS: limited, repeated where that is safe, errors classified, counted."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from autoctl.aws.errors import DRY_RUN, CloudError, Kind
from autoctl.aws.executor import Executor
from autoctl.aws.ratelimit import RateLimits, TokenBucket

_ATTEMPTS = 4
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 5.0


class CallObserver(Protocol):
    """Hears of every request, for metrics. `status` is HTTP's, 0 where no answer came."""

    def called(
        self, service: str, operation: str, seconds: float, error: str | None, status: int
    ) -> None:
        """One attempt has ended."""
        ...

    def requested(
        self, service: str, operation: str, seconds: float, attempts: int, status: int
    ) -> None:
        """A request has ended, with its last attempt."""
        ...


class Caller:
    """Calls the methods of one boto3 client (or of the simulated cloud's).

    Throttled requests and failed connections are repeated up to three times with a growing,
    jittered delay. Everything that goes through here must therefore be safe to repeat: requests
    that create something carry a client token or a name.
    """

    def __init__(
        self,
        service: str,
        client: Any,
        executor: Executor,
        *,
        rng: random.Random,
        limits: RateLimits | None = None,
        observer: CallObserver | None = None,
    ) -> None:
        self.service = service
        self._client = client
        self._executor = executor
        self._rng = rng
        self._limits = limits or RateLimits()
        self._observer = observer

    def bucket(self, operation: str) -> TokenBucket:
        """The budget of requests of an operation."""
        return self._limits.bucket(operation)

    async def __call__(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer of `operation` (snake case). Raises `CloudError`."""
        bucket = self._limits.bucket(operation)
        started = asyncio.get_running_loop().time()
        for attempt in range(1, _ATTEMPTS + 1):
            await bucket.acquire()
            try:
                answer = await self._once(operation, arguments)
            except CloudError as error:
                if error.kind is Kind.THROTTLED:
                    bucket.throttled()
                if not error.transient or attempt == _ATTEMPTS:
                    self._ended(operation, started, attempt, _status(error.__cause__))
                    raise
            else:
                bucket.succeeded()
                self._ended(operation, started, attempt, _status(answer))
                return answer
            ceiling = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0**attempt)
            await asyncio.sleep(ceiling * (0.5 + self._rng.random() / 2))
        raise AssertionError("the last attempt returns or raises")

    async def pages(self, operation: str, items: str, **arguments: Any) -> list[Any]:
        """Return the `items` of all pages (`NextToken` in, `NextToken` out)."""
        found: list[Any] = []
        token: str | None = None
        while True:
            page = {"NextToken": token} if token else {}
            answer = await self(operation, **arguments, **page)
            found += answer.get(items, ())
            token = answer.get("NextToken")
            if not token:
                return found

    async def _once(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        code: str | None = None
        status = 0
        try:
            answer: dict[str, Any] = await self._executor.run(
                getattr(self._client, operation), **arguments
            )
        except (ClientError, BotoCoreError) as error:
            failure = CloudError.of(operation, error)
            code = None if failure.code == DRY_RUN else failure.code
            status = _status(error)
            raise failure from error
        else:
            status = _status(answer)
        finally:
            if self._observer is not None:
                seconds = loop.time() - started
                self._observer.called(self.service, operation, seconds, code, status)
        return answer

    def _ended(self, operation: str, started: float, attempts: int, status: int) -> None:
        if self._observer is not None:
            seconds = asyncio.get_running_loop().time() - started
            self._observer.requested(self.service, operation, seconds, attempts, status)


def _status(outcome: object) -> int:
    """The HTTP status of an answer or an error; 0 where none came."""
    answer = outcome.response if isinstance(outcome, ClientError) else outcome
    if not isinstance(answer, dict):
        return 0
    default = 200 if answer is outcome else 0
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", default))
