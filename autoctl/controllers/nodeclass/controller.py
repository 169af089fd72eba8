"""Keeps each NodeClass's status, and cleans up after one that is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from autoctl.api.hashing import NODECLASS_VERSION, nodeclass_hash
from autoctl.api.labels import (
    FORMER_ROLES,
    NODE_SETTINGS_HASH,
    NODECLASS_FINALIZER,
    NODECLASS_HASH,
    NODECLASS_HASH_VERSION,
)
from autoctl.api.meta import find_condition
from autoctl.api.nodeclass import (
    AMIS_READY,
    CAPACITY_RESERVATIONS_READY,
    INSTANCE_PROFILE_READY,
    PLACEMENT_GROUP_READY,
    SECURITY_GROUPS_READY,
    SUBNETS_READY,
    VALIDATION_SUCCEEDED,
    NodeClass,
)
from autoctl.aws.eks import ClusterFacts, EksCluster
from autoctl.aws.errors import CloudError
from autoctl.aws.images import Images
from autoctl.aws.network import Network
from autoctl.aws.profiles import InstanceProfiles, profile_name
from autoctl.aws.reservations import Reservations
from autoctl.aws.tags import CLUSTER, resource_tags
from autoctl.controllers.hash_versions import migrate_hashes
from autoctl.controllers.nodeclass.resolve import (
    Part,
    Verdict,
    failure,
    image_queries,
    image_version,
    images_part,
    next_status,
    placement_group_part,
    pod_networking_part,
    reservation_selectors,
    reservations_part,
    security_groups_part,
    selectors,
    subnets_part,
)
from autoctl.controllers.nodeclass.templates import TemplateStore
from autoctl.controllers.nodeclass.userdata import later_settings
from autoctl.controllers.nodeclass.validation import Validation
from autoctl.controllers.objects import (
    add_finalizer,
    reference,
    remove_finalizer,
    write_metadata,
    write_status,
)
from autoctl.controllers.runtime.controller import DONE, Result
from autoctl.controllers.runtime.events import Event, EventRecorder
from autoctl.ports.clock import Clock
from autoctl.ports.kubernetes import NODE_CLAIMS, NODE_CLASSES, KubernetesApi, NotFound
from autoctl.state.cluster import ClusterState

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

REFRESH_SECONDS = 60.0
_PROFILE_REFRESH = timedelta(minutes=15)
_NO_ACCESS_ENTRIES = frozenset({"InvalidRequestException"})
"""What EKS answers where the cluster's authentication mode knows no access entries."""
_NAMED_CLAIMS = 3
_WAITING_DEDUPE_SECONDS = 600.0
_WARNING_DEDUPE_SECONDS = 3600.0


@dataclass(frozen=True)
class NodeClassDependencies:
    """What the controller talks to."""

    api: KubernetesApi
    state: ClusterState
    clock: Clock
    events: EventRecorder
    network: Network
    images: Images
    profiles: InstanceProfiles
    reservations: Reservations
    cluster: ClusterFacts
    access: EksCluster
    templates: TemplateStore
    validation: Validation
    region: str
    cluster_name: str
    settings_hash: Mapping[str, str]
    """The annotations that tell the operator's settings of nodes: a hash, then its version."""
    refresh_seconds: float = REFRESH_SECONDS
    """How long what was resolved counts as fresh."""


class NodeClassController:
    """`nodeclass`: one NodeClass a reconcile."""

    name = "nodeclass"

    def __init__(self, dependencies: NodeClassDependencies) -> None:
        self._d = dependencies
        self._profiles: dict[tuple[str, str], datetime] = {}
        self._settled: set[str] = set()
        """UIDs of classes whose NodeClaims all tell the settings that they were launched with."""
        self._resolved: dict[str, tuple[tuple[int, str], datetime]] = {}
        """UID -> the generation and pinned image for which it was resolved, and when."""

    async def reconcile(self, key: str) -> Result:
        node_class = self._d.state.node_class(key)
        if node_class is None:
            return DONE
        if node_class.deleting:
            return await self._finalize(node_class)
        api = self._d.api
        node_class = await add_finalizer(api, NODE_CLASSES, node_class, NODECLASS_FINALIZER)
        hashed = {
            NODECLASS_HASH: nodeclass_hash(node_class),
            NODECLASS_HASH_VERSION: NODECLASS_VERSION,
        }
        claims = self._d.state.claims_by_class[node_class.metadata.name].values()
        await migrate_hashes(api, claims, node_class.metadata.annotations, hashed)
        await self._settings_hashes(node_class)
        annotations = {**hashed, **self._d.settings_hash}
        node_class = await write_metadata(api, NODE_CLASSES, node_class, annotations=annotations)
        now = self._d.clock.now()
        resolved = self._resolved.get(node_class.metadata.uid)
        wanted = (node_class.metadata.generation, image_version(node_class))
        if resolved is not None and resolved[0] == wanted:
            fresh_for = self._d.refresh_seconds - (now - resolved[1]).total_seconds()
            if fresh_for > 0:
                return Result(fresh_for)
        await self._warn(node_class)
        parts, errors = await self._resolve(node_class)
        status = next_status(node_class, parts, now)
        await write_status(api, NODE_CLASSES, node_class, status)
        if errors:
            raise errors[0]
        await self._retire_roles(node_class)
        self._resolved[node_class.metadata.uid] = (wanted, now)
        return Result(self._d.refresh_seconds)

    async def _settings_hashes(self, node_class: NodeClass) -> None:
        """NodeClaims without a hash are taken to have today's settings: nothing else is known."""
        uid = node_class.metadata.uid
        if uid in self._settled:
            return
        hashed = self._d.settings_hash
        claims = self._d.state.claims_by_class[node_class.name].values()
        await migrate_hashes(self._d.api, claims, node_class.metadata.annotations, hashed)
        for claim in list(claims):
            if claim.launched and NODE_SETTINGS_HASH not in claim.metadata.annotations:
                with suppress(NotFound):
                    await write_metadata(self._d.api, NODE_CLAIMS, claim, annotations=dict(hashed))
        self._settled.add(uid)

    async def _warn(self, node_class: NodeClass) -> None:
        """Tell of fields that have no effect: the kubelets do not know them, or they are another's.

        A condition tells of the latter as well, for as long as they are there.
        """
        networking = pod_networking_part(node_class).verdict
        if networking.ok is False:
            self._tell(node_class, "PodNetworkingNotApplied", networking.message)
        asked = [s for s in later_settings(node_class) if s.kubernetes > (1, 0)]
        if not asked:
            return
        try:
            version = (await self._d.cluster.get()).version
        except CloudError:
            return  # AMIsReady tells of it, which needs the version as well.
        for setting in asked:
            if not setting.known_to(version):
                needed = ".".join(map(str, setting.kubernetes))
                text = (
                    f"{setting.field} needs Kubernetes {needed} or newer, and has no effect with "
                    f"{version}"
                )
                self._tell(node_class, "UnsupportedKubeletConfiguration", text)

    def _tell(self, node_class: NodeClass, reason: str, text: str) -> None:
        self._d.events.publish(
            Event(
                reference(NODE_CLASSES, node_class),
                reason,
                text,
                "Warning",
                dedupe_seconds=_WARNING_DEDUPE_SECONDS,
            )
        )

    async def _resolve(self, node_class: NodeClass) -> tuple[list[Part], list[CloudError]]:
        """The parts of the status; errors of requests that are worth repeating soon."""
        work: dict[str, Awaitable[Part]] = {
            SUBNETS_READY: self._subnets(node_class),
            SECURITY_GROUPS_READY: self._security_groups(node_class),
            AMIS_READY: self._images(node_class),
            INSTANCE_PROFILE_READY: self._profile(node_class),
            CAPACITY_RESERVATIONS_READY: self._reservations(node_class),
            PLACEMENT_GROUP_READY: self._placement_group(node_class),
        }
        outcomes = await asyncio.gather(*work.values(), return_exceptions=True)
        parts: list[Part] = []
        errors: list[CloudError] = []
        verdicts: dict[str, bool] = {}
        for condition, outcome in zip(work, outcomes, strict=True):
            part: Part | None
            if isinstance(outcome, CloudError):
                part = failure(condition, outcome)
                if part is None:
                    errors.append(outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                part = outcome
            if part is not None:
                parts.append(part)
                verdicts[condition] = part.verdict.ok is True
            else:
                old = find_condition(node_class.status.conditions, condition)
                verdicts[condition] = old is not None and old.status == "True"
        parts.append(pod_networking_part(node_class))
        validation = await self._validation(node_class, parts, verdicts, errors)
        return parts if validation is None else [*parts, validation], errors

    async def _validation(
        self,
        node_class: NodeClass,
        parts: list[Part],
        verdicts: dict[str, bool],
        errors: list[CloudError],
    ) -> Part | None:
        """Whether nodes could be launched, once all that they need is there."""
        broken = sorted(kind for kind, ok in verdicts.items() if not ok)
        if broken:
            waiting = Verdict(None, "DependenciesNotReady", f"waits for {', '.join(broken)}")
            return Part(VALIDATION_SUCCEEDED, waiting)
        status = next_status(node_class, parts, self._d.clock.now())
        resolved = node_class.model_copy(update={"status": status})
        try:
            verdict = await self._d.validation.check(resolved, await self._d.cluster.get())
        except CloudError as error:
            errors.append(error)
            return None
        return Part(VALIDATION_SUCCEEDED, verdict)

    async def _subnets(self, node_class: NodeClass) -> Part:
        spec = node_class.spec
        network = self._d.network
        return subnets_part(
            node_class,
            await network.subnets(selectors(spec.subnet_selector_terms)),
            await network.subnets(selectors(spec.pod_subnet_selector_terms)),
            ipv6=await self._ipv6(node_class),
        )

    async def _ipv6(self, node_class: NodeClass) -> bool:
        """Whether pods of the cluster have IPv6 addresses; as last known while EKS does not say."""
        try:
            return (await self._d.cluster.get()).ipv6
        except CloudError:
            return node_class.status.ip_family == "ipv6"

    async def _security_groups(self, node_class: NodeClass) -> Part:
        spec = node_class.spec
        network = self._d.network
        return security_groups_part(
            node_class,
            await network.security_groups(selectors(spec.security_group_selector_terms)),
            await network.security_groups(selectors(spec.pod_security_group_selector_terms)),
        )

    async def _images(self, node_class: NodeClass) -> Part:
        cluster = await self._d.cluster.get()
        queries = image_queries(node_class, cluster.version)
        found = await self._d.images.find(queries)
        images = [(q, found[q]) for q in queries if q in found]
        return images_part(node_class, images, cluster.version)

    async def _profile(self, node_class: NodeClass) -> Part:
        """The class's own profile, or one made for its role."""
        spec = node_class.spec
        own = spec.instance_profile
        made = self._profile_name(node_class)
        name = own if own is not None else made
        now = self._d.clock.now()
        checked = self._profiles.get((name, spec.role or ""))
        if checked is None or now - checked >= _PROFILE_REFRESH:
            if own is None or node_class.status.instance_profile == made:
                await self._remember_role(node_class, made)
            if own is not None:
                if not await self._d.profiles.exists(own):
                    return Part(
                        INSTANCE_PROFILE_READY,
                        Verdict(
                            False,
                            "InstanceProfileNotFound",
                            f"instance profile {own!r} does not exist",
                        ),
                    )
            else:
                assert spec.role is not None, "admission wants a role or an instance profile"
                tags = resource_tags(self._d.cluster_name, node_class.name, None, spec.tags or {})
                await self._d.profiles.ensure(name, spec.role, tags)
                await self._admit(name)
            self._profiles[name, spec.role or ""] = now
        return Part(INSTANCE_PROFILE_READY, Verdict(True), {"instance_profile": name})

    async def _reservations(self, node_class: NodeClass) -> Part:
        found = await self._d.reservations.find(reservation_selectors(node_class))
        return reservations_part(found, self._d.clock.now())

    async def _placement_group(self, node_class: NodeClass) -> Part:
        wanted = node_class.spec.placement_group_selector
        if wanted is None:
            return placement_group_part(node_class, None)
        found = await self._d.reservations.placement_group(id=wanted.id, name=wanted.name)
        return placement_group_part(node_class, found)

    async def _admit(self, profile: str) -> None:
        """Let instances with the profile's role join the cluster."""
        arn = await self._d.profiles.role_arn(profile)
        if arn is None:
            return
        tags = {CLUSTER: self._d.cluster_name}
        try:
            await self._d.access.ensure_access_entry(arn, tags)
        except CloudError as error:
            if error.code not in _NO_ACCESS_ENTRIES:
                raise
            # A cluster that admits nodes by its aws-auth ConfigMap alone.
            _log.warning("no access entry made", role=arn, error=str(error))

    async def _dismiss(self, node_class: NodeClass, arns: Iterable[str]) -> None:
        """Take the access entries of roles away that no other class uses."""
        others = {
            c.spec.role
            for c in self._d.state.node_classes.reflector
            if c.metadata.uid != node_class.metadata.uid
        }
        for arn in arns:
            if _role_name(arn) not in others:
                await self._d.access.delete_access_entry(arn, CLUSTER)

    async def _remember_role(self, node_class: NodeClass, made: str) -> None:
        """Note the role that is about to leave the class's profile.

        The nodes that there are drift, but join with its credentials until they are replaced.
        """
        arn = await self._d.profiles.role_arn(made)
        if arn is None or _role_name(arn) == node_class.spec.role:
            return
        former = ",".join(dict.fromkeys([*_former_roles(node_class), arn]))
        annotations = {FORMER_ROLES: former}
        await write_metadata(self._d.api, NODE_CLASSES, node_class, annotations=annotations)

    async def _retire_roles(self, node_class: NodeClass) -> None:
        """Take away what nodes of former roles needed, once the last of them is gone."""
        former = _former_roles(node_class)
        claims = self._d.state.claims_by_class[node_class.name].values()
        current = node_class.metadata.annotations.get(NODECLASS_HASH)
        if not former or any(c.metadata.annotations.get(NODECLASS_HASH) != current for c in claims):
            return
        await self._dismiss(
            node_class, (a for a in former if _role_name(a) != node_class.spec.role)
        )
        if node_class.spec.role is None:
            await self._d.profiles.delete(self._profile_name(node_class))
        forgotten = {"metadata": {"annotations": {FORMER_ROLES: None}}}
        await self._d.api.patch(NODE_CLASSES, node_class.name, forgotten)

    def _profile_name(self, node_class: NodeClass) -> str:
        return profile_name(self._d.region, self._d.cluster_name, node_class.metadata.uid)

    async def _finalize(self, node_class: NodeClass) -> Result:
        if NODECLASS_FINALIZER not in node_class.metadata.finalizers:
            return DONE
        users = sorted(self._d.state.claims_by_class[node_class.name])
        if users:
            self._d.events.publish(_waiting(node_class, users))
            return Result(REFRESH_SECONDS)
        former = _former_roles(node_class)
        if node_class.spec.role is not None or former:
            profile = self._profile_name(node_class)
            arn = await self._d.profiles.role_arn(profile)
            await self._dismiss(node_class, {*former, *([arn] if arn is not None else [])})
            await self._d.profiles.delete(profile)
        self._d.validation.forget(node_class.metadata.uid)
        self._resolved.pop(node_class.metadata.uid, None)
        self._settled.discard(node_class.metadata.uid)
        await self._d.templates.delete_all(node_class.name)
        try:
            await remove_finalizer(self._d.api, NODE_CLASSES, node_class, NODECLASS_FINALIZER)
        except NotFound:
            _log.debug("NodeClass is gone already", node_class=node_class.name)
        return DONE


def _role_name(arn: str) -> str:
    return arn.rpartition("/")[2]


def _former_roles(node_class: NodeClass) -> tuple[str, ...]:
    """The ARNs of roles that nodes of the class may still have."""
    noted = node_class.metadata.annotations.get(FORMER_ROLES, "")
    return tuple(arn for arn in noted.split(",") if arn)


def _waiting(node_class: NodeClass, users: list[str]) -> Event:
    named = ", ".join(users[:_NAMED_CLAIMS])
    more = len(users) - _NAMED_CLAIMS
    rest = f" and {more} other(s)" if more > 0 else ""
    return Event(
        reference(NODE_CLASSES, node_class),
        "WaitingOnNodeClaimTermination",
        f"Waiting on NodeClaim termination for {named}{rest}",
        dedupe_seconds=_WAITING_DEDUPE_SECONDS,
    )
