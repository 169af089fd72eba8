"""`consolidateAfter` is counted from the last pod that came or went."""

from __future__ import annotations

import asyncio

from harness import Play, deployment, node_class, node_pool, playing

from autoctl.ports.kubernetes import Object


def _pool(after: str) -> Object:
    disruption = {"consolidationPolicy": "WhenEmpty", "consolidateAfter": after}
    return node_pool(disruption=disruption)


def _last_event(play: Play) -> str:
    (claim,) = play.claims()
    return str(claim["status"].get("lastPodEventTime", ""))


async def test_an_empty_node_stays_for_consolidate_after() -> None:
    async with playing(node_class(), _pool("5m"), deployment(replicas=2)) as play:
        await play.until(lambda: play.running() == 2)
        await asyncio.sleep(900)
        came = _last_event(play)
        await play.scale(0)
        await play.until(lambda: not play.pods(), 60)
        left = asyncio.get_running_loop().time()
        await play.until(lambda: _last_event(play) > came, 15)
        await play.until(lambda: not play.claims(), 600)
        assert 290 <= asyncio.get_running_loop().time() - left <= 420


async def test_pods_that_come_and_go_cost_one_write_in_ten_seconds() -> None:
    async with playing(node_class(), _pool("Never"), deployment(replicas=2)) as play:
        await play.until(lambda: play.running() == 2)
        await asyncio.sleep(60)
        written: list[str] = [_last_event(play)]
        for second in range(60):
            if second < 30 and second % 3 == 0:
                await play.scale(1 if second % 2 else 2)
            await asyncio.sleep(1)
            if _last_event(play) != written[-1]:
                written.append(_last_event(play))
        assert 3 <= len(written) - 1 <= 5, written


async def test_a_new_leader_learns_what_happened_in_between() -> None:
    async with playing(node_class(), _pool("Never"), deployment(replicas=2)) as play:
        await play.until(lambda: play.running() == 2)
        await asyncio.sleep(60)
        before = _last_event(play)
        lost = asyncio.create_task(play.world.lose_leader())
        await asyncio.sleep(1)
        await play.scale(3)
        await lost
        await play.until(lambda: _last_event(play) > before, 30)
