"""The part of a NodeClass about addresses, proxies and network interfaces."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from autoctl.api.meta import ApiModel, Int32, Rule, rules

LEFT_TO_THE_CNI: Final = (
    "Accepted, but nothing here acts on it: set it at the cluster's CNI as well. The condition "
    "`PodNetworkingApplied` tells how, where it is not the default."
)
"""Of fields of pod networking, for which there is no controller."""

# Within a CEL string, so that its backslashes are doubled.
_HOST = r"(\\[[0-9a-fA-F:.]+\\]|[^\\[\\]:/@ ]+)"
_PROXY_PATTERN = rf"^(https?://)?([^@/ ]+@)?{_HOST}(:[0-9]{{1,5}})?/?$"


class NetworkInterface(ApiModel):
    """An interface that instances are launched with; its addresses never change afterwards."""

    network_card_index: Annotated[
        Int32, Field(ge=0, le=255, description="Network card; 0 is the primary one.")
    ]
    device_index: Annotated[
        Int32, Field(ge=0, le=255, description="Device on the card; card 0, device 0 is primary.")
    ]
    interface_type: Annotated[
        Literal["interface", "efa-only"],
        Field(description="`interface` carries IP traffic; `efa-only` carries EFA traffic alone."),
    ]
    secondary_ipv4_count: Annotated[
        Int32 | None,
        Field(
            alias="secondaryIPv4Count",
            ge=0,
            le=1000,
            description="Secondary addresses, one pod each. Card 0 only.",
        ),
    ] = None
    secondary_ipv4_prefix_count: Annotated[
        Int32 | None,
        Field(
            alias="secondaryIPv4PrefixCount",
            ge=0,
            le=1000,
            description="Prefixes of 16 addresses (/28). Card 0 only.",
        ),
    ] = None


class AdvancedNetworking(ApiModel):
    """Addresses, proxies and interfaces."""

    associate_public_ip_address: Annotated[
        bool | None,
        Field(
            alias="associatePublicIPAddress",
            description="Give instances a public address; as the subnet says when absent.",
        ),
    ] = None
    https_proxy: Annotated[
        str | None,
        Field(
            max_length=255,
            description="Proxy of kubelet and containerd (HTTPS_PROXY); an IPv6 host in brackets.",
            json_schema_extra=rules(
                Rule(
                    f"self.matches('{_PROXY_PATTERN}')",
                    "httpsProxy must be a host with optional scheme and port; put IPv6 addresses "
                    "in brackets",
                )
            ),
        ),
    ] = None
    no_proxy: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=255)], ...] | None,
        Field(
            max_length=50,
            description="Hosts, domains and networks to reach without the proxy (NO_PROXY).",
        ),
    ] = None
    ipv4_prefix_size: Annotated[
        Literal["Auto", "32"],
        Field(
            alias="ipv4PrefixSize",
            description=(
                "`Auto` gives nodes prefixes of 16 addresses and falls back to single ones; `32` "
                f"gives single ones. Nodes hold as many pods either way. {LEFT_TO_THE_CNI}"
            ),
        ),
    ] = "Auto"
    enable_v4_egress: Annotated[
        bool,
        Field(
            alias="enableV4Egress",
            description=f"In IPv6 clusters: let pods reach IPv4 addresses. {LEFT_TO_THE_CNI}",
        ),
    ] = True
    network_interfaces: Annotated[
        tuple[NetworkInterface, ...] | None,
        Field(
            min_length=1,
            max_length=150,
            description="The interfaces of instances, fixed at launch, in place of automatic ones.",
            json_schema_extra=rules(
                Rule(
                    "self.exists(x, x.networkCardIndex == 0 && x.deviceIndex == 0 && "
                    "x.interfaceType == 'interface')",
                    "networkInterfaces must have networkCardIndex 0, deviceIndex 0 with "
                    "interfaceType 'interface'",
                ),
                Rule(
                    "self.all(x, self.exists_one(y, x.networkCardIndex == y.networkCardIndex && "
                    "x.deviceIndex == y.deviceIndex))",
                    "networkCardIndex and deviceIndex must be unique together",
                ),
                Rule(
                    "self.all(x, x.interfaceType != 'efa-only' || self.exists_one(y, "
                    "y.interfaceType == 'efa-only' && x.networkCardIndex == y.networkCardIndex))",
                    "only one 'efa-only' interface is allowed for each network card",
                ),
                Rule(
                    "self.all(x, !(has(x.secondaryIPv4Count) && has(x.secondaryIPv4PrefixCount)))",
                    "only one of 'secondaryIPv4Count' and 'secondaryIPv4PrefixCount' may be set",
                ),
                Rule(
                    "self.all(x, x.networkCardIndex == 0 || !(has(x.secondaryIPv4Count) || "
                    "has(x.secondaryIPv4PrefixCount)))",
                    "secondary IPs are only supported on networkCardIndex 0",
                ),
                Rule(
                    "self.all(x, x.interfaceType != 'efa-only' || !(has(x.secondaryIPv4Count) || "
                    "has(x.secondaryIPv4PrefixCount)))",
                    "secondary IPs are not supported on 'efa-only' interfaces",
                ),
                x_kubernetes_list_type="atomic",
            ),
        ),
    ] = None


ADVANCED_NETWORKING_RULES: Final = (
    Rule(
        "!has(self.associatePublicIPAddress) || !self.associatePublicIPAddress || "
        "!has(self.networkInterfaces) || self.networkInterfaces.size() <= 1",
        "'associatePublicIPAddress' cannot be combined with more than one network interface",
    ),
)
