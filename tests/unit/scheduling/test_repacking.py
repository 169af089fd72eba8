"""Which nodes a repacking names: what launches may cost."""

from scheduling_worlds import GIB, fake_type, make_pod, pool

from autoctl.catalog.model import Offering
from autoctl.scheduling.problem import ExistingNode, SchedulingProblem
from autoctl.scheduling.repacking import Proposer, Removable


def named(price: float, cheaper: dict[str, float]) -> bool:
    """Whether a node of this price is named whose pod fits `cheaper`, a type's price by zone."""
    pod = make_pod("p", cpu="1", memory="1Gi")
    offerings = [Offering(zone, "spot", usd) for zone, usd in cheaper.items()]
    node = ExistingNode(
        name="n",
        labels={"topology.kubernetes.io/zone": "z1"},
        allocatable={"cpu": 8000, "memory": 32 * GIB, "pods": 10},
        pods=(pod,),
    )
    problem = SchedulingProblem(
        pods=(pod,),
        pools=(pool(types=(fake_type("small", 2, 2, offerings=offerings),)),),
        nodes=(node,),
    )
    removable = Removable("n", price, (pod,), "default")
    proposer = Proposer(problem, [removable], {"default": 1}, moving_cost=1e-5, least_saving=0.05)
    return bool(proposer.propose(["n"]).going)


def test_a_node_is_named_whose_pods_cost_less_elsewhere() -> None:
    assert named(1.0, {"z1": 0.4, "z2": 0.4})


def test_a_launch_counts_as_the_dearest_of_its_zones() -> None:
    assert not named(1.0, {"z1": 0.4, "z2": 1.1})
