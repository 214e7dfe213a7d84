"""Evidence that comes in: from whom it may come, what continues what, and what a crash or a full disk leaves."""

import errno
import os
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from injector import collect
from injector.audit.store import open_store
from injector.audit.verify import verify
from injector.collect import ANEW_EVERY_S, MAX_LINE_BYTES, Collector
from injector.countersign import Signer, load_keys, why_not_signed
from injector.ledger_store import Store, read_heads
from sidecar.control import ledger_shipping
from sidecar.model.call import Answer, Call, Peer
from sidecar.model.chain import FIRST, follow, hash_of
from sidecar.model.identity import parse
from sidecar.model.ledger import Countersignature, Entry
from sidecar.telemetry import ledger
from tests.telemetry.test_segments import files_of_at_most

NOW = 1_700_000_000.0
WEB = parse("spiffe://mesh.test/ns/shop/sa/web")
PODS = {"uid-1": ("shop", "web-1"), "uid-2": ("shop", "web-2"), "uid-9": ("../../etc", "passwd")}


def chain_of(count: int, head: str = FIRST, *, word: str = "x", local: str = WEB) -> list[bytes]:
    lines = []
    for number in range(count):
        line = msgspec.json.encode(Entry("connection", previous=head, time=NOW, local=local, detail=f"{word}{number}"))
        head = hash_of(line)
        lines.append(line + b"\n")
    return lines


def head_of(lines: list[bytes]) -> str:
    return hash_of(lines[-1][:-1])


def peer(uid: str = "uid-1", *, holder: str = "") -> Peer:
    return Peer(WEB, uid, 1, "00" * 32, NOW + 3600, "11" * 32, holder=holder)


class Injector:
    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.folder = folder / "ledger"
        self.taken: list[tuple[str, str, int]] = []
        self.collector = Collector.open(
            folder, lambda: self.now, PODS.get, lambda uid, name, entries: self.taken.append((uid, name, len(entries))))

    async def post(
        self, lines: list[bytes], first: int = 1, *, uid: str = "uid-1", query: str = "", by: Peer | None = None, is_anew: bool = False,
    ) -> Answer:
        query = query or f"pod={uid}&from={first}" + ("&anew=1" if is_anew else "")
        return await self.collector.answer(Call("POST", "/v1/ledger", query, {}, b"".join(lines), peer=by or peer(uid)))

    @property
    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in sorted(self.folder.glob("*/*"))}


def signed(answer: Answer) -> Countersignature:
    assert answer.status == 200, answer.body
    return msgspec.json.decode(answer.body, type=Countersignature)


@pytest.fixture
def injector(tmp_path: Path) -> Injector:
    return Injector(tmp_path)


async def test_lines_are_kept_and_countersigned(injector: Injector, autojump_clock: MockClock) -> None:
    lines = chain_of(5)
    first = signed(await injector.post(lines[:3]))
    second = signed(await injector.post(lines[3:], 4))
    assert injector.files == {"shop/web-1.uid-1.jsonl": b"".join(lines)}
    assert (first.pod, first.count, first.head) == ("uid-1", 3, hash_of(lines[2][:-1]))
    assert (second.count, second.head, second.time) == (5, head_of(lines), NOW)
    keys = load_keys((injector.folder / "countersign.pem").read_bytes(), "")
    assert why_not_signed(first, keys) == why_not_signed(second, keys) == ""
    assert read_heads(injector.folder / "heads.json") == {"uid-1": second}


async def test_what_is_kept_is_passed_on_once(injector: Injector, autojump_clock: MockClock) -> None:
    lines = chain_of(5)
    for body, first in (lines[:3], 1), (lines[:3], 1), (lines[3:], 4), (chain_of(1, local="spiffe://mesh.test/ns/shop/sa/orders"), 6):
        await injector.post(body, first)
    assert injector.taken == [("uid-1", "shop/web-1", 3), ("uid-1", "shop/web-1", 2)]
    await injector.post(chain_of(2, word="y"), is_anew=True)
    assert injector.taken[2:] == [("uid-1", "shop/web-1", 2)]


async def test_a_full_disk_silences_nobody(injector: Injector, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = chain_of(40)
    await injector.post(lines[:20])
    size = (injector.folder / "shop" / "web-1.uid-1.jsonl").stat().st_size
    with files_of_at_most(size + 100):
        for last in (30, 30, 35):
            assert (await injector.post(lines[20:last], 21)).status == 503
    await injector.post(lines[20:], 21)
    assert [count for _, _, count in injector.taken] == [20, 10, 5, 5]


@pytest.mark.parametrize(("by", "uid"), [
    (peer("uid-2"), "uid-1"),
    (peer(""), ""),
    (peer(holder="application"), "uid-1"),
    (Peer(None, "uid-1", 1, "", NOW, ""), "uid-1"),
])
async def test_only_the_pods_own_sidecar_may(by: Peer, uid: str, injector: Injector, autojump_clock: MockClock) -> None:
    answer = await injector.post(chain_of(1), uid=uid, by=by)
    assert answer.status == 403
    assert injector.files == {}


async def test_nobody_without_a_certificate(injector: Injector, autojump_clock: MockClock) -> None:
    assert (await injector.collector.answer(Call("POST", "/v1/ledger", "pod=uid-1&from=1", {}, b"".join(chain_of(1))))).status == 403


async def test_nobody_testifies_for_another(injector: Injector, autojump_clock: MockClock) -> None:
    other = chain_of(1, local="spiffe://mesh.test/ns/shop/sa/orders")
    answer = await injector.post(other)
    assert answer.status == 403
    assert b"sa/orders, which the certificate does not name" in answer.body
    assert injector.files == {}


async def test_a_pod_of_no_cluster_or_with_a_name_that_is_none(injector: Injector, autojump_clock: MockClock) -> None:
    assert (await injector.post(chain_of(1), uid="uid-3")).status == 404
    assert (await injector.post(chain_of(1), uid="uid-9")).status == 404


@pytest.mark.parametrize("query", ["pod=uid-1", "pod=uid-1&from=0", "pod=uid-1&from=-1", "pod=uid-1&from=1e3", "pod=uid-1&from=1%0a"])
async def test_a_query_that_is_none(query: str, injector: Injector, autojump_clock: MockClock) -> None:
    assert (await injector.post(chain_of(1), query=query)).status == 400


@pytest.mark.parametrize(("body", "status"), [
    ([], 400), ([b"\n"], 400), ([b"{}\n"], 400), ([b"\xff\n"], 400), ([b"[[[[[\n"], 400),
    ([chain_of(1)[0][:-1]], 400),
    ([*chain_of(2), b"{}\n"], 400),
    ([*chain_of(2), b"\n"], 400),
    ([*chain_of(2), chain_of(1)[0]], 400),
    ([chain_of(2)[0], chain_of(3, word="y")[1]], 400),
    (chain_of(1, word="x" * MAX_LINE_BYTES), 413),
])
async def test_a_body_that_is_no_chain(body: list[bytes], status: int, injector: Injector, autojump_clock: MockClock) -> None:
    assert (await injector.post(body)).status == status
    assert injector.files == {}
    signed(await injector.post(chain_of(1)))


async def test_what_does_not_continue_what_is_here(injector: Injector, autojump_clock: MockClock) -> None:
    lines = chain_of(5)
    held = {"count": 3, "head": hash_of(lines[2][:-1])}
    answer = await injector.post(lines, 2)
    assert (answer.status, msgspec.json.decode(answer.body)) == (409, {"count": 0, "head": FIRST})
    await injector.post(lines[:3])
    for body, first in [(lines[:3], 1), (lines[4:], 5), (lines[2:], 3), (chain_of(1), 4), (chain_of(1, "ab" * 32), 4)]:
        answer = await injector.post(body, first)
        assert (answer.status, msgspec.json.decode(answer.body)) == (409, held)
    assert signed(await injector.post(lines[3:], 4)).count == 5
    assert injector.files == {"shop/web-1.uid-1.jsonl": b"".join(lines)}


async def test_a_chain_that_begins_anew_is_said_and_overwrites_nothing(
    injector: Injector, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = chain_of(3), chain_of(4, word="y")
    await injector.post(old)
    assert signed(await injector.post(new[:2], 1, is_anew=True)).count == 2
    said = capsys.readouterr().err
    assert "shop/web-1 (pod uid-1)" in said
    assert "countersigned as far as line 3" in said
    assert signed(await injector.post(new[2:], 3)).count == 4
    assert injector.files == {"shop/web-1.uid-1.jsonl": b"".join(old), "shop/web-1@2-1.uid-1.jsonl": b"".join(new)}
    assert (await injector.post(new, 1, is_anew=True)).status == 429
    await trio.sleep(ANEW_EVERY_S)
    assert (await injector.post(new[1:], 1, is_anew=True)).status == 400    # line 1 has nothing before it
    assert signed(await injector.post(new[2:], 3, is_anew=True)).count == 4
    assert "shop/web-1@3-3.uid-1.jsonl" in injector.files


async def test_two_bodies_at_once_cannot_both_follow(injector: Injector, autojump_clock: MockClock) -> None:
    one, two = chain_of(1), chain_of(1, word="y")
    found: list[int] = []

    async def post(lines: list[bytes]) -> None:
        found.append((await injector.post(lines)).status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post, one)
        nursery.start_soon(post, two)
    assert sorted(found) == [200, 409]


async def test_many_wait_for_the_disk_together(injector: Injector, autojump_clock: MockClock) -> None:
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        for uid in ("uid-1", "uid-2"):
            nursery.start_soon(partial(injector.post, chain_of(1), uid=uid))
    assert trio.current_time() - begun < 0.4
    assert set(read_heads(injector.folder / "heads.json")) == {"uid-1", "uid-2"}


async def test_who_stops_waiting_leaves_the_others_their_answer(injector: Injector, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(injector.post, chain_of(1), uid="uid-1"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(partial(injector.post, chain_of(1), uid="uid-2"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert set(read_heads(injector.folder / "heads.json")) == {"uid-1", "uid-2"}


async def test_a_restart_goes_on(injector: Injector, autojump_clock: MockClock, tmp_path: Path) -> None:
    lines = chain_of(5)
    await injector.post(lines[:3])
    again = Injector(tmp_path)
    answer = await again.post(lines[4:], 5)
    assert (answer.status, msgspec.json.decode(answer.body)["count"]) == (409, 3)
    assert signed(await again.post(lines[3:], 4)).count == 5


@pytest.mark.parametrize("has_heads", [True, False])
async def test_a_crash_before_the_answer(
    has_heads: bool, injector: Injector, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole lines behind the last answer are here; half a line is not."""
    lines = chain_of(6)
    await injector.post(lines[:3])
    path = injector.folder / "shop" / "web-1.uid-1.jsonl"
    path.write_bytes(b"".join(lines[:5]) + lines[5][:20])
    os.utime(path, (NOW, NOW))      # the same day
    if not has_heads:
        (injector.folder / "heads.json").unlink()
    again = Injector(tmp_path)
    answer = await again.post(lines[3:], 4)
    assert (answer.status, msgspec.json.decode(answer.body)) == (409, {"count": 5, "head": hash_of(lines[4][:-1])})
    assert "cut off" in capsys.readouterr().err
    assert signed(await again.post(lines[5:], 6)).count == 6
    assert path.read_bytes() == b"".join(lines)


async def test_a_file_that_was_changed_meanwhile_is_said_and_left_as_it_is(
    injector: Injector, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = chain_of(4)
    await injector.post(lines[:3])
    path = injector.folder / "shop" / "web-1.uid-1.jsonl"
    path.write_bytes(b"".join(lines[:2]))
    again = Injector(tmp_path)
    assert signed(await again.post(lines[3:], 4)).count == 4
    assert "does not hold line 3 any more" in capsys.readouterr().err
    assert again.files == {"shop/web-1.uid-1.jsonl": b"".join(lines[:2]), "shop/web-1@2-4.uid-1.jsonl": lines[3]}


async def test_a_full_disk_is_answered_and_the_lines_come_again(
    injector: Injector, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = chain_of(40)
    await injector.post(lines[:20])
    size = (injector.folder / "shop" / "web-1.uid-1.jsonl").stat().st_size
    with files_of_at_most(size + 100):
        answer = await injector.post(lines[20:], 21)
    assert answer.status == 503
    assert (injector.folder / "shop" / "web-1.uid-1.jsonl").stat().st_size == size
    assert os.strerror(errno.ENOSPC) in capsys.readouterr().err     # some of it was taken
    assert signed(await injector.post(lines[20:], 21)).count == 40
    assert injector.files == {"shop/web-1.uid-1.jsonl": b"".join(lines)}


async def test_a_disk_that_takes_the_lines_and_not_the_heads_has_signed_nothing(injector: Injector, autojump_clock: MockClock) -> None:
    lines = chain_of(2)
    (injector.folder / "heads.json").mkdir()
    assert (await injector.post(lines)).status == 503
    (injector.folder / "heads.json").rmdir()
    answer = await injector.post(lines)
    assert (answer.status, msgspec.json.decode(answer.body)) == (409, {"count": 2, "head": head_of(lines)})


async def test_what_the_disk_lost_after_it_failed_comes_again(injector: Injector, autojump_clock: MockClock) -> None:
    lines = chain_of(2)
    (injector.folder / "heads.json").mkdir()
    await injector.post(lines)
    (injector.folder / "heads.json").rmdir()
    (injector.folder / "shop" / "web-1.uid-1.jsonl").write_bytes(b"")
    assert signed(await injector.post(lines)).count == 2


@pytest.fixture
def narrow(tmp_path: Path) -> Injector:
    """A store of 40 blocks."""
    injector = Injector(tmp_path)
    store = Store(injector.folder, most_bytes=40 * 4096, file_bytes=8192)
    signer = Signer.open(tmp_path / "countersign.key", injector.folder)
    injector.collector = Collector(store, signer, lambda: injector.now, PODS.get)
    return injector


async def test_whoever_fills_the_store_loses_his_own(narrow: Injector, autojump_clock: MockClock) -> None:
    quiet = chain_of(3)
    await narrow.post(quiet, uid="uid-2")
    lines = chain_of(2000)
    for start in range(0, 2000, 20):
        assert signed(await narrow.post(lines[start:start + 20], start + 1)).count == start + 20
        await trio.sleep(61)
    assert narrow.files["shop/web-2.uid-2.jsonl"] == b"".join(quiet)
    assert sum(map(len, narrow.files.values())) <= 40 * 4096
    kept = [line for name, data in sorted(narrow.files.items(), key=lambda item: item[0].partition("@")[2].zfill(20))
            if "web-1" in name for line in data.splitlines(keepends=True)]
    removed = [msgspec.json.decode(line) for line in (narrow.folder / "removed.jsonl").read_bytes().splitlines()]
    assert kept == lines[-len(kept):]
    assert removed[-1]["last"] == 2000 - len(kept)
    assert removed[-1]["head"] == msgspec.json.decode(kept[0])["previous"]
    assert {each["why"] for each in removed} == {"room"}
    assert [each["first"] for each in removed] == [1, *(each["last"] + 1 for each in removed[:-1])]


async def test_one_file_a_day_and_the_oldest_go(injector: Injector, autojump_clock: MockClock) -> None:
    lines = chain_of(12)
    for day in range(12):
        injector.now = NOW + day * 86400
        assert signed(await injector.post(lines[day:day + 1], day + 1)).count == day + 1
        await trio.sleep(86400)
    assert len(injector.files) == 8
    assert list(follow(injector.files["shop/web-1@12-12.uid-1.jsonl"].splitlines(keepends=True), Entry, head=head_of(lines[:11])))
    assert (injector.folder / "removed.jsonl").read_bytes().count(b'"why":"age"') == 4


async def test_a_pod_that_is_long_gone_is_forgotten(injector: Injector, autojump_clock: MockClock) -> None:
    await injector.post(chain_of(1))
    injector.now += 8 * 86400
    await trio.sleep(61)
    await injector.post(chain_of(1), uid="uid-2")
    await injector.post(chain_of(2)[1:], 2, uid="uid-2")
    assert list(injector.files) == ["shop/web-2.uid-2.jsonl"]
    assert set(read_heads(injector.folder / "heads.json")) == {"uid-2"}
    assert b"web-1.uid-1" in (injector.folder / "removed.jsonl").read_bytes()


def test_what_a_sidecar_sends_is_what_is_taken() -> None:
    assert (collect.MAX_BODY_BYTES, collect.MAX_LINE_BYTES) == (ledger_shipping.MAX_BODY_BYTES, ledger.MAX_LINE_BYTES)


async def test_from_a_sidecars_ledger_to_evidence_that_is_sound(
    injector: Injector, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Over a restart of the sidecar with its folder; without it, the break is found."""
    for folder, is_sound in [("one", True), ("one", True), ("two", False)]:
        written = ledger.Ledger(str(tmp_path / folder), 1 << 20, lambda: injector.now)
        for number in range(3000 if folder == "one" else 3):
            written.add(Entry("connection", local=WEB, requests=number))
        written.close()
        is_anew = False
        while written.has_news:
            batch = written.unshipped(ledger_shipping.MAX_BODY_BYTES)
            assert batch is not None
            answer = await injector.post([batch.lines], batch.first, is_anew=is_anew)
            if answer.status == 409:
                held = msgspec.json.decode(answer.body)
                is_anew = not written.rewind(held["count"], held["head"])
            else:
                written.shipped(signed(answer))
                is_anew = False
        assert verify([str(injector.folder)]).is_sound == is_sound


async def test_each_process_of_a_gateway_has_its_chain(injector: Injector, autojump_clock: MockClock) -> None:
    """To an audit they are one pod's."""
    heads = {}
    for worker in (1, 2):
        for first in (1, 3):
            lines = chain_of(4, word=f"of{worker}-")[first - 1:first + 1]
            answer = await injector.post(lines, query=f"pod=uid-1&worker={worker}/2&from={first}")
            heads[worker] = signed(answer)
    assert [heads[worker].pod for worker in (1, 2)] == ["uid-1", "uid-1_2"]
    assert [(uid, count) for uid, _, count in injector.taken] == [("uid-1", 2)] * 4
    assert set(injector.files) == {"shop/web-1.uid-1.jsonl", "shop/web-1.uid-1_2.jsonl"}
    report = verify([str(injector.folder)])
    assert (report.is_sound, report.files, report.lines) == (True, 2, 8)
    assert {ledger.pod_uid for ledger in open_store([str(injector.folder)]).ledgers} == {"uid-1"}
    again = Injector(injector.folder.parent)     # and so after a restart
    assert signed(await again.post(chain_of(5, word="of2-")[4:], query="pod=uid-1&worker=2/2&from=5")).count == 5


@pytest.mark.parametrize("worker", ["", "0/2", "3/2", "1/17", "../2"])
async def test_a_process_that_cannot_be_has_none(worker: str, injector: Injector, autojump_clock: MockClock) -> None:
    assert (await injector.post(chain_of(1), query=f"pod=uid-1&from=1&worker={worker or '%20'}")).status == 400
    assert not injector.files
