"""From one answer of the packer to disjoint commands.

Taking many nodes away at once gives one solution. Nodes whose pods share a replacement belong
together; the others can be executed, and fail, on their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoctl.controllers.disruption.candidates import Candidate
from autoctl.scheduling.problem import NewNode, Solution


@dataclass(frozen=True)
class Move:
    """Nodes that go together and what replaces them; `destinations` maps pods to where they go."""

    candidates: tuple[Candidate, ...]
    replacements: tuple[NewNode, ...]
    destinations: Mapping[str, str]

    @property
    def price(self) -> float:
        """USD/hour of the nodes that go."""
        return sum(c.price for c in self.candidates)

    @property
    def replacement_price(self) -> float:
        """USD/hour of what comes."""
        return sum(n.offer.price for n in self.replacements)

    @property
    def savings(self) -> float:
        return self.price - self.replacement_price

    @property
    def is_exchange(self) -> bool:
        """Whether one node goes for one that gets all its pods."""
        return len(self.candidates) == len(
            self.replacements
        ) == 1 and self.destinations.keys() == set(self.replacements[0].pods)

    @property
    def evictions(self) -> int:
        return sum(c.evictions for c in self.candidates)

    @property
    def disruption(self) -> float:
        """Rescheduling cost of the nodes that go."""
        return sum(c.cost for c in self.candidates)


def split(candidates: Sequence[Candidate], solution: Solution) -> list[Move]:
    """Return the moves of `solution`, which placed all movable pods of `candidates`.

    Candidates are joined when pods of both go to one new node. Order: as `candidates`.
    """
    owner = {p.key: i for i, c in enumerate(candidates) for p in c.movable}
    parent = list(range(len(candidates)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    homes: list[int] = []
    for node in solution.new_nodes:
        members = [owner[pod] for pod in node.pods if pod in owner]
        assert members, "a replacement holds at least one pod of a candidate"
        first = root(members[0])
        for member in members[1:]:
            second = root(member)
            parent[max(first, second)] = first = min(first, second)
        homes.append(members[0])
    groups: dict[int, list[int]] = {}
    for index in range(len(candidates)):
        groups.setdefault(root(index), []).append(index)
    bought: dict[int, list[NewNode]] = {}
    for node, home in zip(solution.new_nodes, homes, strict=True):
        bought.setdefault(root(home), []).append(node)
    return [
        _move([candidates[i] for i in members], tuple(bought.get(group, ())), solution)
        for group, members in groups.items()
    ]


def _move(
    members: Sequence[Candidate], replacements: tuple[NewNode, ...], solution: Solution
) -> Move:
    new_homes = {
        pod: f"replacement:{index}" for index, node in enumerate(replacements) for pod in node.pods
    }
    destinations = {}
    for candidate in members:
        for pod in candidate.movable:
            destination = new_homes.get(pod.key) or solution.placements.get(pod.key)
            assert destination is not None, f"{pod.key} has no destination"
            destinations[pod.key] = destination
    return Move(tuple(members), replacements, destinations)
