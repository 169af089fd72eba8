"""Which launches share a request: what holds of every answer, and how little is given up."""

from __future__ import annotations

import random
from typing import Any

import pytest

from autoctl.aws.fleet import FleetConfig, FleetRequest, Override, fleet_arguments
from autoctl.aws.fleet_merge import MOST_DIGESTS, merge

PRICES = {name: 0.1 * (number + 1) for number, name in enumerate("abcdefghijklmnopqrst")}


def request(
    types: str,
    *,
    template: str = "t",
    digest: str = "",
    zones: str = "1",
    capacity_type: str = "on-demand",
    **fields: Any,
) -> FleetRequest:
    """Types are letters, the earlier the cheaper."""
    overrides = tuple(
        Override(name, zone, f"subnet-{zone}", "ami", price=PRICES[name])
        for name in types
        for zone in zones
    )
    configs = (FleetConfig(template, overrides),)
    digests = (digest or types.ljust(8, "-")[:8],)
    return FleetRequest(capacity_type, configs, (("k", "v"),), digests, **fields)


def shared(requests: list[FleetRequest], most: int) -> list[tuple[str, list[int]]]:
    """Each answer's types and members."""
    found = []
    for merged in merge(requests, most):
        types = {o.instance_type for c in merged.request.configs for o in c.overrides}
        found.append(("".join(sorted(types)), merged.members))
    return found


def test_while_there_is_budget_each_has_its_own() -> None:
    requests = [request("abc"), request("abd"), request("e")]
    assert [m.request for m in merge(requests, 3)] == requests


def test_who_allows_the_same_shares_in_any_case() -> None:
    same = [request("abc", digest="one"), request("cba", digest="two"), request("abd")]
    found = merge(same, 9)
    assert [m.members for m in found] == [[0, 1], [2]]
    assert found[0].request.digests == ("one", "two")


def test_no_more_is_shared_than_need_be() -> None:
    """Three wait, two may go: the two that lose least share, the third keeps all it has."""
    requests = [request("abcdefgh"), request("abcdefgi"), request("a")]
    assert shared(requests, 2) == [("abcdefg", [0, 1]), ("a", [2])]
    assert shared(requests, 1) == [("a", [0, 1, 2])]


@pytest.mark.parametrize(
    "other",
    [
        request("bcdefgh"),
        request("abcdefgh", template="another"),
        request("abcdefgh", capacity_type="spot"),
        request("abcdefgh", capacity_type="reserved", market="capacity-block"),
        request("abcdefgh", placement_group="pg-1"),
    ],
    ids=["another best offer", "template", "capacity type", "market", "placement group"],
)
def test_some_never_share(other: FleetRequest) -> None:
    assert len(merge([request("abcdefgh", digest="one"), other], 1)) == 2


def test_spot_keeps_half_of_its_choice() -> None:
    wide, narrow = request("abcd", capacity_type="spot"), request("ab", capacity_type="spot")
    assert shared([wide, narrow], 1) == [("ab", [0, 1])]
    slim = request("a", capacity_type="spot")
    assert len(merge([wide, slim], 1)) == 2


def test_the_tag_holds_every_digest() -> None:
    requests = [request("abc", digest=f"digest{n:02d}") for n in range(MOST_DIGESTS + 5)]
    found = merge(requests, 1)
    assert [len(m.members) for m in found] == [MOST_DIGESTS, 5]
    for merged in found:
        tags = fleet_arguments(merged.request, [])["TagSpecifications"][0]["Tags"]
        assert all(len(tag["Value"]) <= 256 for tag in tags)


@pytest.mark.parametrize("seed", range(40))
def test_everybody_gets_what_he_allows_and_nobody_is_lost(seed: int) -> None:
    rng = random.Random(seed)
    requests = [
        request(
            "".join(sorted(rng.sample(list(PRICES), rng.randint(1, 12)))),
            template=rng.choice("tu"),
            zones=rng.choice(["1", "12"]),
            capacity_type=rng.choice(["spot", "on-demand"]),
            digest=f"digest{n:02d}",
        )
        for n in range(40)
    ]
    most = rng.randint(1, 30)
    found = merge(requests, most)
    assert sorted(i for m in found for i in m.members) == list(range(40))
    assert [m.members[0] for m in found] == sorted(m.members[0] for m in found)
    assert merge(requests, most) == found
    for merged in found:
        offers = {(c.template, o) for c in merged.request.configs for o in c.overrides}
        assert offers
        cheapest = min(o.price for _, o in offers)
        for index in merged.members:
            own = {(c.template, o) for c in requests[index].configs for o in c.overrides}
            assert offers <= own, "an instance that somebody did not ask for"
            assert cheapest == min(o.price for _, o in own), "dearer than alone"
            assert set(requests[index].digests) <= set(merged.request.digests)
