"""Loading the packet rules: again, in part, and where it is not possible."""

import os
import re
import socket
import subprocess
from functools import partial
from pathlib import Path

import pytest

from sidecar.intercept import Exemption
from tests.e2e.interception.support import APP_UID, BY_MARK, BY_UID, NETNS, SIDECAR_UID, UIDS, Pod, load
from tests.helpers.netns import CAP_NET_ADMIN, as_user, with_uid_map, without_capabilities

pytestmark = NETNS


def test_loading_twice_changes_nothing_and_foreign_rules_stay(pod: Pod) -> None:
    foreign = "OUTPUT -p tcp -m tcp --dport 1 -m comment --comment \"not ours\" -j ACCEPT"
    before = pod.saved()
    pod.space.run(f"iptables -I {foreign}")
    pod.load()
    pod.load()
    assert f"-A {foreign}" in pod.saved()
    pod.space.run(f"iptables -D {foreign}")
    assert pod.saved() == before


@pytest.mark.parametrize("broken", ["iptables-restore", "ip6tables-restore", "ip6tables-save"])
def test_nothing_changes_if_one_family_fails(pod: Pod, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    is_armed = tmp_path / "armed"
    program = tmp_path / broken
    program.write_text(f'#!/bin/sh\nif [ -e {is_armed} ]; then rm {is_armed}; echo out of luck >&2; exit 1; fi\n'
                       f'PATH=${{PATH#*:}} exec {broken} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def fail() -> None:
        before = pod.saved()
        is_armed.touch()
        with pod.space.entered():
            assert load(Exemption("mark", 0x77)) == 1
        assert capsys.readouterr().err.startswith(f"bartizan intercept: {broken}: out of luck: ")
        assert pod.saved() == before

    fail()
    pod.flush()
    fail()


def test_without_the_capability_it_says_so(pod: Pod, capfd: pytest.CaptureFixture[str]) -> None:
    with pod.space.entered():
        assert without_capabilities(partial(load, BY_MARK), APP_UID) == 1
    said = capfd.readouterr().err
    assert re.fullmatch("bartizan intercept: iptables-save: .*: give the container the capability NET_ADMIN\n", said)


def test_the_one_capability_is_enough_for_a_user_who_is_not_root(pod: Pod) -> None:
    pod.flush()
    with pod.space.entered():
        assert without_capabilities(partial(load, pod.exemption), APP_UID, but=CAP_NET_ADMIN) == 0
    before = pod.saved()
    pod.load()
    assert pod.saved() == before


def test_without_the_program_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert load(BY_MARK) == 1
    assert capsys.readouterr().err == ("bartizan intercept: iptables-save is not installed: use the image of the mesh, "
                                       "or install iptables\n")


# A user namespace in which 1000 is mapped below its neighbours, as `podman --userns=keep-id` does.
ODD_MAP = "0 100000 1000\n1000 1000 1\n1001 101000 64535\n"


@pytest.mark.skipif(UIDS[-1].last < 200_000, reason="needs root to map user IDs")
def test_every_user_of_an_oddly_mapped_namespace_is_held() -> None:
    def fates() -> dict[int, str]:
        for command in ("link set lo up", "link add eth0 type veth peer name other", "link set other up", "link set eth0 up",
                        "addr add 10.9.0.2/24 dev eth0"):
            subprocess.run(["ip", *command.split()], check=True)
        assert load(BY_UID) == 0
        said = {}
        for uid in (0, 999, 1000, 1001, 65535, SIDECAR_UID):
            with as_user(uid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                try:
                    sock.sendto(b"x", ("10.9.0.1", 9))
                    said[uid] = "sent"
                except PermissionError:
                    said[uid] = "refused"
        return said

    assert with_uid_map(fates, ODD_MAP) == {**dict.fromkeys((0, 999, 1000, 1001, 65535), "refused"), SIDECAR_UID: "sent"}
