from pathlib import Path

import pytest

from injector.demo import modes
from injector.demo.errors import DemoError
from injector.demo.modes import ROOT, USER_MAPPED, USER_SINGLE, Mode, detect, require_tools


def only(*working: Mode) -> "object":
    return lambda mode: "" if mode in working else "unshare failed: Operation not permitted"


@pytest.mark.parametrize(("is_root", "working", "chosen"), [
    (True, (ROOT, USER_SINGLE), ROOT),
    (True, (USER_SINGLE,), USER_SINGLE),
    (False, (ROOT, USER_MAPPED, USER_SINGLE), USER_MAPPED),
    (False, (USER_SINGLE,), USER_SINGLE),
])
def test_the_mode_that_shows_most_is_chosen(is_root: bool, working: tuple[Mode, ...], chosen: Mode) -> None:
    assert detect(is_root, only(*working)) is chosen   # type: ignore[arg-type]


@pytest.mark.parametrize(("setting", "value", "cure"), [
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("user/max_user_namespaces", "9", "--privileged"),
])
def test_where_none_works_the_cure_is_named(tmp_path: Path, setting: str, value: str, cure: str) -> None:
    file = tmp_path / "sys" / setting
    file.parent.mkdir(parents=True)
    file.write_text(f"{value}\n")
    with pytest.raises(DemoError, match=cure) as caught:
        detect(False, only(), tmp_path)   # type: ignore[arg-type]
    assert "Operation not permitted" in str(caught.value)


def test_missing_tools_are_named_with_the_line_that_installs_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for tool in modes.TOOLS:
        if tool not in ("ip", "iptables-restore", "ip6tables-restore"):
            (tmp_path / tool).touch(mode=0o755)
    monkeypatch.setattr(modes, "SBIN", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match=r"missing ip, ip6tables-restore, iptables-restore; .*apt-get install -y iproute2 iptables$"):
        require_tools()
