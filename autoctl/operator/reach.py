"""Whether AWS was reached at all: an endpoint that does not answer is nobody's credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.exceptions import HTTPClientError

from autoctl.aws.errors import CloudError

_SPEAKER = re.compile(r"^\w*Connection\w*\([^)]*\): ")
"""The object of urllib3 that an error's text begins with."""


@dataclass(frozen=True, slots=True)
class Silence:
    """An endpoint that did not answer as AWS does: its address, where it is known, and why."""

    endpoint: str
    why: str

    def __str__(self) -> str:
        return f"{self.endpoint} does not answer: {self.why}"


def silence(failure: CloudError) -> Silence | None:
    """Why the call came to nobody; None when AWS answered, with whatever error."""
    cause = failure.__cause__
    if not isinstance(cause, BotoConnectionError | HTTPClientError):
        return None
    told = cause.kwargs
    url = str(told.get("endpoint_url") or "")
    proxy = str(told.get("proxy_url") or "")
    # Not of every error the reason is kept beside the address.
    why = _SPEAKER.sub("", str(told.get("error", ""))) or str(cause)
    if proxy:
        return Silence(f"the proxy {proxy}", _first_line(why))
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.netloc}" if parts.netloc else "the endpoint"
    return Silence(where, _first_line(why))


def _first_line(text: str) -> str:
    return text.partition("\n")[0].strip()
