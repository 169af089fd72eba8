"""Bytes from the API server to objects, and Status bodies to errors."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from autoctl.ports.kubernetes import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    EventType,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Object,
    Resource,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    WatchEvent,
)

T = TypeVar("T")


class _ListMeta(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    token: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, Generic[T]):
    """One chunk of a list."""

    metadata: _ListMeta
    items: list[T] | None = None


class _ObjectMeta(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _Versioned(msgspec.Struct):
    metadata: _ObjectMeta


class _RawEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


_RAW_EVENT = msgspec.json.Decoder(_RawEvent)
_VERSION = msgspec.json.Decoder(_Versioned)
_ANY = msgspec.json.Decoder()


_PAGES: dict[type[Any] | None, msgspec.json.Decoder[Any]] = {}
_OBJECTS: dict[type[Any] | None, msgspec.json.Decoder[Any]] = {None: _ANY}


def _page_decoder(model: type[Any] | None) -> msgspec.json.Decoder[Any]:
    """The decoder of lists of `model`, made once (compiling it takes longer than a list)."""
    if model not in _PAGES:
        item = dict[str, Any] if model is None else model
        _PAGES[model] = msgspec.json.Decoder(_Page[item])  # type: ignore[valid-type]
    return _PAGES[model]


def _object_decoder(model: type[Any] | None) -> msgspec.json.Decoder[Any]:
    if model not in _OBJECTS:
        _OBJECTS[model] = msgspec.json.Decoder(model)
    return _OBJECTS[model]


def encode(value: Any) -> bytes:
    """JSON bytes of a request body."""
    return msgspec.json.encode(value)


def decode_object(body: bytes) -> Object:
    """One object as a dict. Raises `Unavailable` when the body is no JSON object."""
    try:
        decoded = _ANY.decode(body)
    except msgspec.DecodeError as error:
        raise Unavailable(f"the answer is not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise Unavailable(f"the answer is a {type(decoded).__name__}, not an object")
    return decoded


def decode_page(
    body: bytes, resource: Resource, model: type[Any] | None
) -> tuple[list[Any], str, str]:
    """Items, resource version and continue token of one chunk of a list."""
    try:
        page = _page_decoder(model).decode(body)
    except msgspec.DecodeError as error:
        raise Unavailable(f"cannot read the list of {resource}: {error}") from error
    items = page.items or []
    if model is None:
        # Items of built-in kinds come without the two fields that every single object has.
        for item in items:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
    return items, page.metadata.resource_version, page.metadata.token


def decode_event(line: bytes, model: type[Any] | None) -> WatchEvent[Any]:
    """One line of a watch. Raises what an ERROR line says, `Unavailable` for a broken one."""
    try:
        raw = _RAW_EVENT.decode(line)
        if raw.type == "ERROR":
            status = _ANY.decode(raw.object)
            raise error_from_status(int(status.get("code") or 500), status)
        version = _VERSION.decode(raw.object).metadata.resource_version
        kind = EventType(raw.type)
        if kind is EventType.BOOKMARK:
            return WatchEvent(kind, None, version)
        return WatchEvent(kind, _object_decoder(model).decode(raw.object), version)
    except (msgspec.DecodeError, ValueError) as error:
        raise Unavailable(f"cannot read a watch event: {error}") from error


_BY_CODE: dict[int, type[ApiError]] = {
    error.code: error
    for error in (
        *(BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Gone, Invalid, TooManyRequests),
    )
}


def error_from_status(code: int, status: Object, retry_after: float | None = None) -> ApiError:
    """The error that a metav1.Status (or its absence, `{}`) and an HTTP status stand for."""
    reason = str(status.get("reason") or "")
    details = status.get("details") or {}
    if retry_after is None and isinstance(details.get("retryAfterSeconds"), int):
        retry_after = float(details["retryAfterSeconds"])
    kind: type[ApiError]
    if reason == "AlreadyExists":
        kind = AlreadyExists
    elif reason == "Expired":
        kind = Gone
    elif code >= 500:
        kind = Unavailable
    else:
        kind = _BY_CODE.get(code, ApiError)
    message = str(status.get("message") or "") or f"the API server answered HTTP {code}"
    return kind(message, code=code, reason=reason, retry_after=retry_after, details=details)


def error_from_response(code: int, body: bytes, retry_after: str | None) -> ApiError:
    """The error of a whole response; the body may be anything, as proxies answer in HTML."""
    try:
        status = _ANY.decode(body)
    except msgspec.DecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = body[:200].decode("utf-8", "replace").strip()
        status = {"message": f"HTTP {code}: {text}" if text else ""}
    seconds = float(retry_after) if retry_after and retry_after.strip().isdigit() else None
    return error_from_status(code, status, seconds)
