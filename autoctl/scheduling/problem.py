"""What a solve is asked and what it answers.

Resource amounts are integers in base units (`autoctl.catalog.model.Resources`), prices USD/hour.
Everything here is immutable; a solution refers to pods by key (`namespace/name`) and to nodes and
NodePools by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from autoctl.api import core
from autoctl.catalog.model import InstanceType, Resources


@dataclass(frozen=True, slots=True)
class RequirementSpec:
    """A requirement as manifests write it: NodePool, NodeClaim, pod affinity.

    Operators: In, NotIn, Exists, DoesNotExist, Gt, Lt, Gte, Lte. `min_values` asks for that many
    distinct values among the instance types a NodeClaim may become.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()
    min_values: int | None = None


@dataclass(frozen=True)
class Pool:
    """A NodePool that may launch nodes, resolved: its instance types, what it has used of limits.

    `instance_types` are those its NodeClass can launch, with the offerings' availability as known
    now (capacity errors, subnets' zones, reservations); the pool's own requirements are applied by
    the solver. `limits` are absolute, `usage` is what the pool's nodes (and NodeClaims in flight)
    take of them; both include the resource `nodes` where the NodePool limits it.
    """

    name: str
    instance_types: tuple[InstanceType, ...]
    requirements: tuple[RequirementSpec, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[core.Taint, ...] = ()
    startup_taints: tuple[core.Taint, ...] = ()
    weight: int = 0
    limits: Resources = field(default_factory=dict)
    usage: Resources = field(default_factory=dict)


@dataclass(frozen=True)
class ExistingNode:
    """A node that is there, or a NodeClaim in flight whose shape is known.

    For a node that is not initialized yet, `labels`, `taints` and `allocatable` are what it will
    have (startup and ephemeral taints left out). `pods` are those bound to it that still count
    (not terminal); `nominated` are pending pods an earlier decision promised to it: they take
    room and are not scheduled again. Daemon pods that will still come are the solver's business:
    it compares `SchedulingProblem.daemons` with `pods`.
    """

    name: str
    labels: Mapping[str, str]
    allocatable: Resources
    taints: tuple[core.Taint, ...] = ()
    pods: tuple[core.Pod, ...] = ()
    nominated: tuple[core.Pod, ...] = ()
    initialized: bool = True
    managed: bool = True
    pool: str | None = None
    schedulable: bool = True
    """False: counts for topology but takes no pods (cordoned, deleting, fresh)."""
    csi_limits: Mapping[str, int] = field(default_factory=dict)
    """CSI driver -> number of volumes the node can attach (CSINode); absent: unlimited."""


@dataclass(frozen=True)
class Volumes:
    """The storage objects that placement reads, keyed as the API does."""

    claims: Mapping[str, core.PersistentVolumeClaim] = field(default_factory=dict)
    """By `namespace/name`."""
    volumes: Mapping[str, core.PersistentVolume] = field(default_factory=dict)
    classes: Mapping[str, core.StorageClass] = field(default_factory=dict)


class PreferencePolicy(StrEnum):
    """Whether preferred affinities and ScheduleAnyway constraints are honoured where possible."""

    RESPECT = "Respect"
    IGNORE = "Ignore"


class MinValuesPolicy(StrEnum):
    """Whether a NodePool's minValues may be lowered when they cannot be met."""

    STRICT = "Strict"
    BEST_EFFORT = "BestEffort"


@dataclass(frozen=True, slots=True)
class SolverOptions:
    """Settings of a solve.

    `budget` counts work units (array elements, simplex iterations, questions about a shape; about a
    microsecond each), not time, so that a solve is a function of its input; the default is about
    5 s of one core on a hard instance. It is a cap for all placing, packing and proving of a solve
    together: from half of it on nothing is tried twice and preferences are given up together, near
    its end greedy takes over, and at its end one pass over the shapes; pods that others bear on and
    whose turn has not come then are left over with that reason. Below a million, or a hundred for
    each pod, it only says how hard to search, which greedy does not do: zero means greedy only.
    What grows with the input alone (reading pods, naming nodes) is not counted.
    `max_pod_share` bounds the share of what a batch of 50 pods or more requests (of any resource)
    that one new node is loaded with, where that costs no more: a cluster should keep serving if a
    node dies. 1 turns it off.
    `allow_new_nodes=False` places on existing nodes alone. `prove=False` leaves the lower bound at
    0 where it would take a relaxation of its own, which can cost as much as the solve.
    """

    budget: int = 5_000_000
    preference_policy: PreferencePolicy = PreferencePolicy.RESPECT
    min_values_policy: MinValuesPolicy = MinValuesPolicy.STRICT
    max_instance_types: int = 60
    max_pod_share: float = 0.5
    allow_new_nodes: bool = True
    prove: bool = True
    default_spread: tuple[core.TopologySpreadConstraint, ...] = ()


@dataclass(frozen=True)
class SchedulingProblem:
    """One question: place `pods` on `nodes` and on new nodes of `pools`, as cheaply as allowed.

    `pods` are those to place now (pending, or moved by a disruption), gated and foreign-scheduler
    pods already left out. `daemons` has one representative pod for each DaemonSet, with its
    namespace, labels and owner. `namespaces` maps a namespace to its labels (for selectors).
    `closed_pools` are NodePools that launch nothing now, with the reason; a pod that stays pending
    is told so. `reserve` are pods that stand for room to be kept: they are placed as `pods` are,
    but what is there is given to `pods` first.
    """

    pods: tuple[core.Pod, ...]
    pools: tuple[Pool, ...] = ()
    nodes: tuple[ExistingNode, ...] = ()
    daemons: tuple[core.Pod, ...] = ()
    volumes: Volumes = field(default_factory=Volumes)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    closed_pools: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Pod key -> names of nodes it must not be placed on, whatever speaks for them."""
    inadmissible: Mapping[str, str] = field(default_factory=dict)
    """Pod key -> why it is placed nowhere, whatever its spec says."""
    reserve: tuple[core.Pod, ...] = ()
    options: SolverOptions = field(default_factory=SolverOptions)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a new node is expected to be: the cheapest offering that holds its pods."""

    instance_type: str
    zone: str
    capacity_type: str
    price: float
    reservation_id: str | None = None


@dataclass(frozen=True)
class NewNode:
    """A node to buy.

    `requirements` is what the NodeClaim will ask (pool, template labels, pods and topology
    together), `instance_types` the types the launch may choose from, best (cheapest) first, with
    `offer.instance_type` at their head. `requests` sums its pods and daemon pods.
    """

    pool: str
    pods: tuple[str, ...]
    requests: Resources
    requirements: tuple[RequirementSpec, ...]
    instance_types: tuple[str, ...]
    offer: Offer
    min_values_relaxed: bool = False


@dataclass(frozen=True)
class Unschedulable:
    """Why a pod stays pending.

    `reason` is one sentence; `detail` says for each NodePool why not, with how many offers each
    rule removed ("612 of 844 offers lack arm64; ...").
    """

    reason: str
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Solution:
    """The answer of a solve.

    `cost` is USD/hour of `new_nodes`; no answer that places the same pods costs less than
    `lower_bound`.
    """

    new_nodes: tuple[NewNode, ...] = ()
    placements: Mapping[str, str] = field(default_factory=dict)
    """Pod key -> existing node's name."""
    unschedulable: Mapping[str, Unschedulable] = field(default_factory=dict)
    cost: float = 0.0
    lower_bound: float = 0.0
    method: Literal["none", "greedy", "lp", "lp+greedy"] = "none"
    work: int = 0
    relaxed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Pod key -> the preferences that were given up for it, in order."""
