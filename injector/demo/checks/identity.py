"""Identity that is rotated, revoked and audited: what the operator does, and what callers, the called and the evidence show of it."""

import datetime
import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import trio

from injector.demo import settings
from injector.demo.outside import HOSTS
from injector.demo.runtime import Done
from injector.demo.world import Object, World, json_lines
from sidecar.model.reason import Reason

from .change import under_load
from .check import Check, expect, expect_status
from .leaving import API, UNAPPROVED
from .mesh import ALLOWED, ORDERS, WEB

EVENTS = "http://orders/events"
REFUSED_WITHIN_S = 5.0
ENDED_WITHIN_S = 10.0
ROOT_WITHIN_S = 30.0
ABORTED_WITHIN_S = 20.0
COLLECTED_WITHIN_S = 25.0   # the sidecars ship every ten seconds
LOOK_EVERY_S = 0.2          # looking takes a processor from those that are looked at
APART_S = 1.0               # the two ends of a connection write of its end within this
STORE = settings.STATE / "ledger"


async def status(world: World, pod: str) -> Object:
    return dict(json.loads(await world.admin(pod, "GET", "/status")))


async def operate(world: World, verb: str, *words: str) -> str:
    """A verb of `bartizan certs` on the authority, which must succeed."""
    done = await world.bartizan("certs", verb, str(settings.AUTHORITY), *words)
    expect(done.status == 0, f"`certs {verb} {' '.join(words)}`: {done.err.decode(errors='replace').strip()}")
    return done.out.decode()


# -- the root changes


async def rotate_root(world: World) -> dict[str, float]:
    """Change the root and wait until nothing of that is under way; if it does not come to that, take it back. Returns how long each
    phase took.
    """
    began: dict[str, float] = {}
    said = await operate(world, "rotate", "--root")
    with trio.move_on_after(ROOT_WITHIN_S):
        while _is_under_way(said):
            began.setdefault(said.partition(":")[0], trio.current_time())
            await trio.sleep(LOOK_EVERY_S)
            said = await operate(world, "rotate", "--status")
    if _is_under_way(said):
        await operate(world, "rotate", "--abort")
        with trio.fail_after(ABORTED_WITHIN_S):
            while _is_under_way(await operate(world, "rotate", "--status")):
                pass
        lines = said.splitlines()
        waited = [line for line in lines if line.startswith("awaited")]
        expect(False, f"the root did not change within {ROOT_WITHIN_S:g} s: {'; '.join([lines[0], *waited])}")
    moments = [*began.values(), trio.current_time()]
    return {phase: after - before for phase, before, after in zip(began, moments, moments[1:], strict=False)}


def _is_under_way(said: str) -> bool:
    return not said.startswith("no root rotation")


async def root(world: World) -> str:
    pods = ("web", "orders")
    before = {pod: (await status(world, pod))["signer"] for pod in pods}
    phases: dict[str, float] = {}

    async def change() -> None:
        await trio.sleep(0.5)   # the load runs
        phases.update(await rotate_root(world))

    sent = await under_load(world, change)
    expect_status(await world.ask("web", "http", "GET", ALLOWED), 200)
    after = {pod: (await status(world, pod))["signer"] for pod in pods}
    expect(len({*before.values()}) == len({*after.values()}) == 1 and after != before,
           f"certificates stood under the roots {before}, and stand under {after}")
    took = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in phases.items())
    return (f"web and orders: certificates under root {before['web'][:8]} -> {after['web'][:8]}; {took}; "
            f"{sent} requests meanwhile, none failed")


# -- a pod is revoked


async def revoked(world: World) -> str:
    """web, which works before and afterwards: its requests, its open WebSocket, and its next certificate."""
    uid = world.kubelet.pod("web").uid
    held: Object = {}
    refused: Object = {}
    expect_status(await world.ask("web", "http", "GET", ALLOWED), 200)

    async def hold() -> None:
        held.update(await world.ask("web", "hold", EVENTS, "--seconds", f"{ENDED_WITHIN_S}"))

    async def ask() -> None:
        refused.update(await world.ask("web", "until", ALLOWED, "--status", "403", "--seconds", f"{REFUSED_WITHIN_S + 1}"))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold)
            nursery.start_soon(ask)
            await trio.sleep(0.5)   # both are at it
            began = time.time()
            issued = _issued(uid)
            await operate(world, "revoke", "--pod", uid, "--reason", "shown by the demo")
        expect(refused["at"] is not None and refused["at"] - began <= REFUSED_WITHIN_S,
               f"not refused within {REFUSED_WITHIN_S:g} s: {refused['statuses']}")
        expect(held["echoes"] and held["at"] is not None, f"the open connection went on: {held['echoes']} echoes, {held['error']}")
        problem = await _ask_for_certificate(world, "web")
        expect(_issued(uid) == issued, "the issuer issued a certificate to a revoked pod")
    finally:
        with trio.CancelScope(shield=True):
            await operate(world, "revoke", "--pod", uid, "--lift")
    code = Reason.REVOKED.code
    logged = [item for item in world.access_log("orders", began) if item.get("code") == code]
    told = [item for item in world.ledger("orders") if item["time"] >= began]
    expect(logged and any(item.get("code") == code for item in told), f"no {code} in access log and ledger of orders")
    ended = [item for item in told if item["kind"] == "connection" and uid in item.get("detail", "")]
    expect(ended, "the ledger of orders tells of no connection that was ended")
    again = await world.ask("web", "until", ALLOWED, "--status", "200", "--seconds", f"{REFUSED_WITHIN_S}")
    expect(again["at"] is not None, f"still refused {REFUSED_WITHIN_S:g} s after it was lifted: {again['statuses']}")
    return (f"refused after {refused['at'] - began:.1f} s ({code} at orders), its WebSocket ended after {held['at'] - began:.1f} s, "
            f"{len(ended)} connections in all; {problem}; lifted: 200 again")


async def _ask_for_certificate(world: World, pod: str) -> str:
    """Returns why it gets none, in short."""
    failures = (await status(world, pod))["renewal"]["failures"]
    await world.admin(pod, "POST", "/rotate")
    with trio.move_on_after(REFUSED_WITHIN_S):
        while (renewal := (await status(world, pod))["renewal"])["failures"] == failures:
            pass
    expect("revoked" in renewal["problem"], f"the issuer did not refuse a certificate: {renewal['problem'] or 'no failure'}")
    return str(renewal["problem"]).replace("{\"error\":\"", "").partition(";")[0]


def _issued(uid: str) -> int:
    return sum(item["podUid"] == uid for item in json_lines(settings.AUTHORITY / "issuance.log"))


# -- the evidence


async def audited(world: World) -> str:
    """As far as both web and orders have shipped, and the checks before have left evidence; what must be there is done here once more."""
    async with trio.open_nursery() as nursery:
        for pod, *words in (
            ("web", "websocket", EVENTS, "--body", "evidence"),
            ("legacy", "http", "GET", "http://orders.shop/orders/plain", "--to", f"{world.address('orders')}:8080"),
            ("web", "http", "GET", f"https://{API}/", "--to", f"{HOSTS[API].addresses.ipv4}:443"),
            ("web", "http", "GET", f"http://{UNAPPROVED}/", "--to", f"{HOSTS[UNAPPROVED].addresses.ipv4}:80"),
        ):
            nursery.start_soon(world.ask, pod, *words)
    seen: list[str] = []
    with trio.move_on_after(COLLECTED_WITHIN_S):
        while True:
            seen, lacking = await _reports(world)
            if not lacking:
                break
            await trio.sleep(0.5)
    expect(not lacking, f"the evidence lacks {', '.join(lacking)}")
    return "; ".join([*seen, await _verified(world)])


async def _reports(world: World) -> tuple[list[str], list[str]]:
    """(what the audit says in words, what it cannot say yet)"""
    until = _shipped_until(world)
    if until is None:
        return [], ["a ledger of web or orders"]
    period = ["--store", str(STORE), "--until", datetime.datetime.fromtimestamp(until, datetime.UTC).isoformat(), "-o", "json"]
    reports: dict[str, Any] = {}

    async def audit(verb: str, *words: str) -> None:
        done = await world.bartizan("audit", verb, *period, *words)
        expect(done.status == 0, f"`audit {verb}`: {_said(done)}")
        reports[verb] = json.loads(done.out)["report"]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(audit, "mtls")
        nursery.start_soon(audit, "certs", "--issuance", str(settings.AUTHORITY / "issuance.log"))
        nursery.start_soon(audit, "egress")
    mtls, certs, egress = reports["mtls"], reports["certs"], reports["egress"]
    pairs = [pair for pair in mtls["pairs"] if (pair["caller"], pair["destination"]) == (WEB, ORDERS)]
    plaintext = [item for item in mtls["refusals"]
                 if item["caller"] in world.kubelet.pod("legacy").addresses.both() and item["code"] == Reason.PLAINTEXT.code]
    reached, refused = ({item["host"] for item in egress[name]} for name in ("reached", "refusals"))
    lacking = [what for what, is_there in (
        ("a connection between web and orders", pairs), ("the plaintext of legacy", plaintext), (API, API in reached),
        (UNAPPROVED, UNAPPROVED in refused)) if not is_there]
    if lacking:
        return [], lacking
    pair = pairs[0]
    expect(pair["connections"] == pair["bothEnds"], f"not all is mTLS that both ends tell of: {pair}")
    expect(UNAPPROVED not in reached, f"the evidence says that {UNAPPROVED} was reached")
    expect(not certs["alarms"], f"certificates: {certs['alarms'][:2]}")
    used = sum(item["connections"] > 0 for item in certs["certificates"])
    return [
        f"web -> orders: {pair['connections']} connections, all mTLS, told alike by both ends, {pair['requests']} requests",
        f"plaintext of legacy: {sum(item['count'] for item in plaintext)} refused",
        f"{certs['issued']} certificates, {used} seen in use, all issued here",
        f"hosts reached: {', '.join(sorted(reached))}; refused: {', '.join(sorted(refused))}",
    ], []


def _shipped_until(world: World) -> float | None:
    """Up to when both ledgers have come in; None: one never did."""
    heads = json.loads((STORE / "heads.json").read_text()) if (STORE / "heads.json").exists() else {}
    found = [heads.get(world.kubelet.pod(pod).uid) for pod in ("web", "orders")]
    return min(head["time"] for head in found if head) - APART_S if all(found) else None


async def _verified(world: World) -> str:
    """The store as it is holds; copies that somebody tampered with do not, and the place is named."""
    uid = world.kubelet.pod("orders").uid
    folder = settings.WORLD / "evidence"
    verdicts: dict[str, Done] = {}

    async def verify(name: str) -> None:
        verdicts[name] = await world.bartizan("audit", "verify", str(folder / name))

    lines = _copy(folder / "as it is", uid)
    at = len(lines) // 2
    tampered = {
        "a changed byte": [*lines[:at], lines[at].replace(b'"time":1', b'"time":2', 1), *lines[at + 1:]],
        "a missing line": [*lines[:at], *lines[at + 1:]],
        "a cut tail": lines[:at],
    }
    for name, content in tampered.items():
        shutil.copytree(folder / "as it is", folder / name)
        _ledger_of(folder / name, uid).write_bytes(b"".join(content))
    async with trio.open_nursery() as nursery:
        for name in ("as it is", *tampered):
            nursery.start_soon(verify, name)
    shutil.rmtree(folder)
    whole = verdicts.pop("as it is")
    expect(whole.status == 0, f"`audit verify`: {_said(whole)}")
    for name in tampered:
        done = verdicts[name]
        expect(done.status == 1 and uid in _said(done), f"{name} was not found: {_said(done)}")
    found = ", ".join(f"{name}: {_said(verdicts[name]).partition('.jsonl: ')[2].splitlines()[0]}" for name in tampered)
    return f"verify: {whole.out.decode().splitlines()[-1]}; {found}"


def _copy(folder: Path, uid: str) -> list[bytes]:
    """Copy the store, heads first, since files grow. Returns the lines of a pod's ledger."""
    folder.mkdir(parents=True)
    shutil.copy(STORE / "heads.json", folder)
    shutil.copytree(STORE, folder, ignore=lambda _, names: [name for name in names if name == "heads.json"], dirs_exist_ok=True)
    return _ledger_of(folder, uid).read_bytes().splitlines(keepends=True)


def _ledger_of(store: Path, uid: str) -> Path:
    return _only(store.glob(f"*/*.{uid}.jsonl"))


def _only(paths: Iterable[Path]) -> Path:
    (path,) = paths
    return path


def _said(done: Done) -> str:
    return (done.out + done.err).decode(errors="replace").strip()


CHECKS = (
    Check("a revoked pod is refused within 5 s, its connections end, and it cannot get a new certificate", revoked),
    Check("the root changes under load, and no request fails", root),
    Check("the audit proves which connections were mTLS, and an edited line is found", audited),
)
