"""What AWS's error codes mean to a caller.

Codes are those of the EC2 API reference (error codes; CreateFleet's per-override errors) and of the
other services used. Everything that a gateway raises is a `CloudError`.
"""

from __future__ import annotations

import re
from enum import StrEnum

from botocore.exceptions import BotoCoreError, ClientError


class Kind(StrEnum):
    """What to do about an error."""

    CAPACITY = "capacity"
    """This offering has none now: try another, come back later."""
    LIMIT = "limit"
    """The account's quota is used up: other offerings of the same quota fail too."""
    THROTTLED = "throttled"
    """Too many requests: slow down and repeat."""
    UNAUTHORIZED = "unauthorized"
    """The identity may not do this: a person has to change a policy."""
    NOT_FOUND = "not-found"
    IN_USE = "in-use"
    """Something still depends on it: repeat later."""
    EXISTS = "exists"
    INVALID = "invalid"
    """The request is wrong and stays wrong."""
    UNAVAILABLE = "unavailable"
    """The service, or the way to it, failed: repeat."""


_CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientCapacity",
        "InsufficientCapacityOnHost",
        "UnfulfillableCapacity",
        "Unsupported",
        "ReservationCapacityExceeded",
        "InsufficientFreeAddressesInSubnet",
        "SpotMaxPriceTooLow",
    }
)
_LIMIT = frozenset(
    {
        "VcpuLimitExceeded",
        "MaxSpotInstanceCountExceeded",
        "MaxFleetCountExceeded",
        "InstanceLimitExceeded",
        "FleetQuotaExceeded",
    }
)
_THROTTLED = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "TooManyRequests",
        "EC2ThrottledException",
        "BandwidthLimitExceeded",
        "SlowDown",
        "PriorRequestNotComplete",
    }
)
_UNAUTHORIZED = frozenset(
    {
        "UnauthorizedOperation",
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "RequestExpired",
        "MissingAuthenticationToken",
        "OptInRequired",
        "PendingVerification",
        "NotAuthorized",
    }
)
_NOT_FOUND = frozenset(
    {
        "NoSuchEntity",
        "ParameterNotFound",
        "ResourceNotFoundException",
        "NotFoundException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "InvalidPlacementGroup.Unknown",
        "InvalidLaunchTemplateId.NotFoundException",
        "InvalidLaunchTemplateName.NotFoundException",
        "InvalidCapacityReservationId.NotFound",
    }
)
_IN_USE = frozenset(
    {"DependencyViolation", "DeleteConflict", "ResourceInUseException", "IncorrectState"}
)
_EXISTS = frozenset(
    {
        "EntityAlreadyExists",
        "InvalidLaunchTemplateName.AlreadyExistsException",
        "ResourceAlreadyExistsException",
    }
)
_UNAVAILABLE = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "ServerInternal",
        "ServerException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "Unavailable",
        "RequestTimeout",
        "RequestTimeoutException",
    }
)
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(_CAPACITY, Kind.CAPACITY),
    **dict.fromkeys(_LIMIT, Kind.LIMIT),
    **dict.fromkeys(_THROTTLED, Kind.THROTTLED),
    **dict.fromkeys(_UNAUTHORIZED, Kind.UNAUTHORIZED),
    **dict.fromkeys(_NOT_FOUND, Kind.NOT_FOUND),
    **dict.fromkeys(_IN_USE, Kind.IN_USE),
    **dict.fromkeys(_EXISTS, Kind.EXISTS),
    **dict.fromkeys(_UNAVAILABLE, Kind.UNAVAILABLE),
}

DRY_RUN = "DryRunOperation"
"""EC2's answer to a dry run of what it would have carried out."""

SERVICE_LINKED_ROLE = "AuthFailure.ServiceLinkedRoleCreationNotPermitted"
"""No spot instance can be had until somebody creates EC2 Spot's service-linked role."""

_LAUNCH_REASONS = {
    SERVICE_LINKED_ROLE: "SpotSLRCreationFailed",
    "UnauthorizedOperation": "Unauthorized",
    "AccessDenied": "Unauthorized",
    "AuthFailure": "Unauthorized",
    "InvalidLaunchTemplateName.NotFoundException": "LaunchTemplateNotFound",
    "InvalidLaunchTemplateId.NotFoundException": "LaunchTemplateNotFound",
    "InvalidAMIID.Malformed": "InvalidAMIID",
    "InvalidAMIID.NotFound": "AMINotFound",
    "InvalidAMIID.Unavailable": "AMINotFound",
    "RequestLimitExceeded": "RequestLimitExceeded",
    "InternalError": "InternalError",
    "MaxFleetCountExceeded": "FleetQuotaExceeded",
    "PendingVerification": "AccountPendingVerification",
    "MaxSpotInstanceCountExceeded": "SpotQuotaExceeded",
    "VcpuLimitExceeded": "VCPULimitExceeded",
    "InsufficientFreeAddressesInSubnet": "InsufficientFreeAddressesInSubnet",
}


def classify(code: str) -> Kind:
    """The kind of an error code; unknown codes are INVALID, so that nothing is repeated blindly."""
    kind = _KINDS.get(code)
    if kind is not None:
        return kind
    if code.startswith("InvalidCapacityReservationState"):
        # `.PendingActivation`: a Capacity Block that has not begun. `.Unavailable`: an
        # interruptible reservation that its owner is taking back.
        return Kind.CAPACITY
    if ".NotFound" in code or code.endswith("NotFoundException"):
        return Kind.NOT_FOUND
    if code.endswith((".InUse", "InUseException")):
        return Kind.IN_USE
    if code.endswith((".Duplicate", "AlreadyExistsException")):
        return Kind.EXISTS
    return Kind.INVALID


_REASONS_BY_TEXT = (
    ("not authorized for images", "AMIAuthorizationFailure"),
    ("invalid iam instance profile", "InstanceProfileNameInvalid"),
    ("belong to different networks", "SecurityGroupSubnetVPCMismatch"),
    ("user data is limited to", "UserDataSizeLimitExceeded"),
    ("not eligible for free tier", "FreeTierIneligible"),
)
"""Parts of messages that say more than their codes, which stand for many things."""


def launch_reason(code: str, message: str = "") -> str:
    """The `Launched` condition's reason for a failed launch, as Karpenter names it."""
    text = message.lower()
    told = (reason for part, reason in _REASONS_BY_TEXT if part in text)
    return next(told, _LAUNCH_REASONS.get(code, "LaunchFailed"))


_REFUSED_ACTION = re.compile(r"not authorized to perform: ([\w-]+:\w+)")
_ENCODED = re.compile(r"\s*Encoded authorization failure message:.*", re.DOTALL)


def plain_message(message: str) -> str:
    """AWS's message without the encoded part, which differs each time: conditions must not."""
    return _ENCODED.sub("", message)


def refused_action(message: str) -> str | None:
    """The IAM action that a refusal names, such as `iam:PassRole`: often not the one called."""
    found = _REFUSED_ACTION.search(message)
    return found[1] if found else None


class CloudError(Exception):
    """A call to AWS that failed: `operation` (snake case), AWS's `code` and `message`."""

    def __init__(self, operation: str, code: str, message: str, kind: Kind | None = None) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.operation = operation
        self.code = code
        self.message = message
        self.kind = classify(code) if kind is None else kind

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed soon."""
        return self.kind in {Kind.THROTTLED, Kind.UNAVAILABLE}

    @classmethod
    def of(cls, operation: str, error: ClientError | BotoCoreError) -> CloudError:
        """The error as a gateway raises it; failed connections are UNAVAILABLE."""
        if isinstance(error, ClientError):
            details = error.response.get("Error", {})
            code = str(details.get("Code", "Unknown"))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            kind = classify(code)
            if kind is Kind.INVALID and status >= 500:
                kind = Kind.UNAVAILABLE
            return cls(operation, code, plain_message(str(details.get("Message", ""))), kind)
        name = type(error).__name__
        connection = any(word in name for word in ("Connect", "Timeout", "HTTPClient", "Endpoint"))
        credentials = "Credential" in name or "Token" in name
        if credentials:
            return cls(operation, name, str(error), Kind.UNAUTHORIZED)
        return cls(operation, name, str(error), Kind.UNAVAILABLE if connection else Kind.INVALID)
