"""The reflector against a scripted API: what a subscriber is told must add up to the truth."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from autoctl.ports.kubernetes import (
    PODS,
    EventType,
    Forbidden,
    Gone,
    Object,
    ObjectList,
    Unavailable,
    WatchEvent,
)
from autoctl.state.reflector import Change, Reflector

pytestmark = pytest.mark.looptime


def pod(name: str, version: int, uid: str = "", **spec: Any) -> Object:
    meta = {"name": name, "namespace": "ns", "uid": uid or name, "resourceVersion": str(version)}
    return {"metadata": meta, "spec": spec}


class Script:
    """Answers lists and watches in the order written; the last watch never ends."""

    def __init__(
        self,
        lists: Sequence[list[Object] | Exception],
        watches: Sequence[list[WatchEvent[Object] | Exception]] = (),
    ) -> None:
        self.lists = list(lists)
        self.watches = list(watches)
        self.calls: list[tuple[float, str]] = []

    def _note(self, what: str) -> None:
        self.calls.append((asyncio.get_running_loop().time(), what))

    async def list(self, resource: Any, namespace: Any = None, **_: Any) -> ObjectList[Any]:
        self._note("list")
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ObjectList(answer, "100")

    async def watch(
        self, resource: Any, namespace: Any = None, *, resource_version: str, **_: Any
    ) -> AsyncIterator[WatchEvent[Any]]:
        self._note(f"watch {resource_version}")
        if not self.watches:
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


def event(kind: EventType, item: Object) -> WatchEvent[Object]:
    return WatchEvent(kind, item, item["metadata"]["resourceVersion"])


async def play(
    script: Script, seconds: float = 600, **options: Any
) -> tuple[Reflector[Object], list[list[Change[Object]]]]:
    batches: list[list[Change[Object]]] = []
    reflector: Reflector[Object] = Reflector(
        script,  # type: ignore[arg-type]  # only list and watch are asked for
        PODS,
        rng=random.Random(1),
        on_change=lambda changes: batches.append(list(changes)),
        **options,
    )
    task = asyncio.create_task(reflector.run())
    await asyncio.sleep(seconds)
    assert not task.done(), "a reflector never ends by itself"
    task.cancel()
    return reflector, batches


def told(batches: list[list[Change[Object]]]) -> list[tuple[str, str]]:
    return [(change.type.value, change.key) for batch in batches for change in batch]


async def test_a_list_is_one_batch_and_events_follow() -> None:
    script = Script(
        [[pod("a", 1), pod("b", 2)]],
        [
            [
                event(EventType.MODIFIED, pod("a", 101, x=1)),
                event(EventType.DELETED, pod("b", 102, x=2)),
                event(EventType.ADDED, pod("c", 103)),
            ]
        ],
    )
    reflector, batches = await play(script)
    assert [len(batch) for batch in batches] == [2, 1, 1, 1]
    assert told(batches)[2:] == [("MODIFIED", "ns/a"), ("DELETED", "ns/b"), ("ADDED", "ns/c")]
    assert batches[2][0].object["spec"] == {"x": 2}, "a deletion tells the object's last state"
    assert batches[1][0].previous == pod("a", 1)
    assert set(reflector.store) == {"ns/a", "ns/c"}
    assert reflector.get("a", "ns") == pod("a", 101, x=1)
    assert reflector.synced.is_set()


async def test_after_gone_a_new_list_tells_what_was_deleted_meanwhile() -> None:
    script = Script(
        [
            [pod("a", 1), pod("b", 2), pod("c", 3, uid="old"), pod("d", 4)],
            [pod("b", 2), pod("c", 9, uid="new"), pod("d", 8, x=1), pod("e", 7)],
        ],
        [[Gone("too old")]],
    )
    reflector, batches = await play(script)
    assert told(batches)[4:] == [
        ("DELETED", "ns/a"),
        ("DELETED", "ns/c"),
        ("ADDED", "ns/c"),
        ("MODIFIED", "ns/d"),
        ("ADDED", "ns/e"),
    ]
    assert set(reflector.store) == {"ns/b", "ns/c", "ns/d", "ns/e"}
    assert reflector.restarts == 1


async def test_a_broken_watch_resumes_where_it_was_without_a_new_list() -> None:
    bookmark: WatchEvent[Object] = WatchEvent(EventType.BOOKMARK, None, "150")
    script = Script([[]], [[bookmark, Unavailable("reset")], [Unavailable("reset")]])
    await play(script)
    assert [what for _, what in script.calls] == ["list", "watch 100", "watch 150", "watch 150"]


async def test_other_errors_list_again() -> None:
    script = Script([[], Forbidden("no"), []], [[Forbidden("no")]])
    await play(script)
    assert [what for _, what in script.calls] == [
        *("list", "watch 100", "list", "list", "watch 100")
    ]


async def test_pauses_grow_to_half_a_minute_and_start_anew_after_success() -> None:
    failures: list[list[Object] | Exception] = [Unavailable("down")] * 10
    script = Script([*failures, []], [])
    reflector, _ = await play(script)
    starts = [at for at, _ in script.calls]
    pauses = [after - before for before, after in itertools.pairwise(starts[:-1])]
    ceilings = [min(30, 0.5 * 2**n) for n in range(10)]
    for pause, ceiling in zip(pauses, ceilings, strict=True):
        assert ceiling / 2 <= pause <= ceiling
    assert isinstance(reflector.last_error, Unavailable)


async def test_the_servers_own_pause_is_kept() -> None:
    script = Script([Unavailable("busy", retry_after=60), []])
    await play(script)
    assert script.calls[1][0] == pytest.approx(60)


async def test_streams_that_end_at_once_do_not_spin() -> None:
    script = Script([[]], [[] for _ in range(20)])
    await play(script, seconds=60)
    assert len(script.calls) < 12


async def test_a_stream_that_ends_after_events_is_resumed_at_once() -> None:
    script = Script([[]], [[event(EventType.ADDED, pod("a", 101))]])
    await play(script, seconds=0.1)
    assert [what for _, what in script.calls] == ["list", "watch 100", "watch 101"]


async def test_an_object_that_cannot_be_parsed_is_left_out_and_the_rest_go_on() -> None:
    def parse(item: Object) -> Object:
        if item["spec"].get("bad"):
            raise ValueError("bad field")
        return item

    script = Script(
        [[pod("a", 1), pod("b", 2, bad=True)]],
        [
            [
                event(EventType.MODIFIED, pod("a", 101, bad=True)),
                event(EventType.MODIFIED, pod("b", 102)),
                event(EventType.ADDED, pod("c", 103)),
            ]
        ],
    )
    reflector, batches = await play(script, parse=parse)
    assert told(batches) == [
        ("ADDED", "ns/a"),
        ("DELETED", "ns/a"),
        ("ADDED", "ns/b"),
        ("ADDED", "ns/c"),
    ]
    assert reflector.rejected == {"ns/a": "bad field"}


async def test_a_failing_subscriber_is_no_reason_to_miss_anything() -> None:
    def broken(_: Sequence[Change[Object]]) -> None:
        raise RuntimeError("bug")

    script = Script([[pod("a", 1)]])
    reflector: Reflector[Object] = Reflector(
        script,  # type: ignore[arg-type]
        PODS,
        rng=random.Random(1),
        on_change=broken,
    )
    heard: list[str] = []
    reflector.subscribe(lambda changes: heard.extend(c.key for c in changes))
    task = asyncio.create_task(reflector.run())
    await asyncio.sleep(1)
    late: list[str] = []
    reflector.subscribe(lambda changes: late.extend(c.key for c in changes))
    task.cancel()
    assert heard == late == ["ns/a"]


async def test_idle_seconds_counts_from_the_last_sign_of_life() -> None:
    script = Script([Unavailable("down"), []])
    reflector: Reflector[Object] = Reflector(
        script,  # type: ignore[arg-type]
        PODS,
        rng=random.Random(1),
    )
    assert reflector.idle_seconds() is None
    task = asyncio.create_task(reflector.run())
    await reflector.synced.wait()
    await asyncio.sleep(90)
    assert reflector.idle_seconds() == pytest.approx(90)
    task.cancel()


@pytest.mark.parametrize("seed", range(30))
async def test_what_is_told_adds_up_to_what_is_there(seed: int) -> None:
    """Random histories with lost streams and expired versions: replayed, they give the store."""
    rng = random.Random(seed)
    truth: dict[str, Object] = {}
    history: list[tuple[int, WatchEvent[Object]]] = []
    version = 0
    troubled = True

    def mutate() -> None:
        nonlocal version
        version += 1
        name = rng.choice("abcdef")
        if name in truth and rng.random() < 0.4:
            gone = pod(name, version, uid=truth.pop(name)["metadata"]["uid"])
            history.append((version, event(EventType.DELETED, gone)))
        else:
            known = truth.get(name)
            uid = known["metadata"]["uid"] if known else f"{name}-{version}"
            truth[name] = pod(name, version, uid=uid)
            kind = EventType.MODIFIED if known else EventType.ADDED
            history.append((version, event(kind, truth[name])))

    class Server:
        async def list(self, *_: Any, **__: Any) -> ObjectList[Any]:
            return ObjectList(list(truth.values()), str(version))

        async def watch(self, *_: Any, resource_version: str, **__: Any) -> AsyncIterator[Any]:
            position = int(resource_version)
            while True:
                for at, news in history[:]:
                    if at > position:
                        position = at
                        yield news
                await asyncio.sleep(0.5)
                fate = rng.random() if troubled else 1.0
                if fate < 0.1:
                    for _ in range(rng.randint(0, 5)):
                        mutate()
                    raise Gone("too old")
                if fate < 0.2:
                    raise Unavailable("reset")
                if fate < 0.3:
                    return

    replayed: dict[str, Object] = {}

    def replay(changes: Sequence[Change[Object]]) -> None:
        for change in changes:
            assert change.previous == replayed.get(change.key)
            if change.type is EventType.DELETED:
                del replayed[change.key]
            else:
                assert (change.type is EventType.ADDED) == (change.key not in replayed)
                replayed[change.key] = change.object

    reflector: Reflector[Object] = Reflector(
        Server(),  # type: ignore[arg-type]
        PODS,
        rng=random.Random(seed),
        on_change=replay,
    )
    task = asyncio.create_task(reflector.run())
    for _ in range(60):
        mutate()
        await asyncio.sleep(rng.random() * 2)
    troubled = False
    await asyncio.sleep(120)
    task.cancel()
    assert replayed == dict(reflector.store) == {f"ns/{name}": o for name, o in truth.items()}
