"""Edit, drop, insert or cut: the chain says where."""

import errno
import json
import os
import resource
import signal

import pytest

from certs.ca import create_root, create_svid_intermediate
from certs.log import Log, LogError, read, verify
from certs.profile import issue_svid
from certs.request import key_hash
from sidecar.model.chain import FIRST
from sidecar.model.identity import workload_id

from .support import DOMAIN, NOW, new_key

ROOT = create_root(DOMAIN, NOW)
SVID = create_svid_intermediate(ROOT, DOMAIN, NOW)
WEB = workload_id(DOMAIN, "shop", "web")


def leaf(key=None, now=NOW):
    return issue_svid(SVID, (key or new_key()).public_key(), WEB, "uid-1", 3600, now)


@pytest.fixture
def path(tmp_path):
    """A log of four lines."""
    path = tmp_path / "issuance.log"
    log = Log(path)
    for number in range(4):
        log.record(leaf(), WEB, f"uid-{number}", "10.0.0.1", NOW)
    log.close()
    return path


def test_a_line_says_it_all(tmp_path):
    path, key = tmp_path / "issuance.log", new_key()
    certificate = leaf(key)
    log = Log(path)
    log.record(certificate, WEB, "uid-1", "10.0.0.1", NOW)
    log.close()
    assert json.loads(path.read_text()) == {
        "previous": FIRST,
        "serial": f"{certificate.serial_number:032x}",
        "identity": WEB,
        "podUid": "uid-1",
        "issued": NOW,
        "notBefore": NOW - 60,
        "notAfter": NOW + 3600,
        "key": key_hash(key.public_key()),
        "requester": "10.0.0.1",
    }
    assert path.stat().st_mode & 0o777 == 0o600


def test_who_holds_the_key_is_said_where_it_is_no_sidecar(tmp_path):
    path = tmp_path / "issuance.log"
    log = Log(path)
    log.record(leaf(), WEB, "uid-1", "10.0.0.1", NOW, holder="application")
    log.record(leaf(), WEB, "uid-1", "10.0.0.1", NOW)
    log.close()
    assert [entry.holder for entry in read(path)] == ["application", ""]
    assert ["holder" in json.loads(line) for line in path.read_text().splitlines()] == [True, False]


def test_it_goes_on_where_it_ended(path):
    log = Log(path)
    assert verify(path) == (4, log.head)
    log.record(leaf(), WEB, "uid-4", "10.0.0.1", NOW)
    log.close()
    assert verify(path) == (5, log.head)
    assert [entry.pod_uid for entry in read(path)] == [f"uid-{number}" for number in range(5)]


def test_an_edited_line_is_noticed_at_the_next(path):
    path.write_text(path.read_text().replace("uid-1", "uid-9"))
    with pytest.raises(LogError, match="line 3 does not follow"):
        verify(path)
    with pytest.raises(LogError, match="line 3 does not follow"):
        Log(path)


@pytest.mark.parametrize(("edit", "why"), [
    (lambda lines: lines[1:], "line 1 does not follow"),
    (lambda lines: [lines[0], *lines[2:]], "line 2 does not follow"),
    (lambda lines: [lines[0], lines[0], *lines[1:]], "line 2 does not follow"),
    (lambda lines: [lines[0], lines[2], lines[1], lines[3]], "line 2 does not follow"),
    (lambda lines: [lines[0], b"{}\n", *lines[1:]], "line 2 is no entry"),
    (lambda lines: [lines[0], b"\xff\n", *lines[1:]], "line 2 is no entry"),
    (lambda lines: [*lines[:3], lines[3][:-5]], "line 4 is incomplete"),
])
def test_other_edits(path, edit, why):
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(LogError, match=why):
        verify(path)


def test_a_log_cut_short_is_noticed_by_who_remembers_its_head(path):
    _, head = verify(path)
    assert verify(path, head) == (4, head)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    assert verify(path)[0] == 3
    with pytest.raises(LogError, match="cut short"):
        verify(path, head)


@pytest.mark.parametrize("cut", [1, 20])
def test_a_torn_last_line_is_moved_aside_and_said(path, capsys, cut):
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    complete = whole[:whole[:-1].rindex(b"\n") + 1]
    log = Log(path)
    assert path.read_bytes() == complete
    aside, = path.parent.glob("issuance.log.torn-*")
    assert aside.read_bytes() == whole[len(complete):-cut]
    assert f"moved to {aside}" in capsys.readouterr().err
    log.record(leaf(), WEB, "uid-3", "10.0.0.1", NOW)
    log.close()
    assert verify(path)[0] == 4


def test_only_one_writes(path):
    log = Log(path)
    with pytest.raises(LogError, match="another process"):
        Log(path)
    log.close()
    Log(path).close()


def test_a_full_disk_issues_nothing_and_leaves_the_chain_whole(path):
    log = Log(path)
    before, size = log.head, path.stat().st_size
    old_limit, old_handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, old_limit[1]))
    try:
        with pytest.raises(LogError, match="nothing is issued"):
            log.record(leaf(), WEB, "uid-4", "10.0.0.1", NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert path.stat().st_size == size + 50, f"expected a torn line, as {errno.errorcode[errno.ENOSPC]} leaves one"
    assert log.head == before
    log.record(leaf(), WEB, "uid-5", "10.0.0.1", NOW)
    log.close()
    assert [entry.pod_uid for entry in read(path)][4:] == ["uid-5"]


def test_who_holds_a_key_is_remembered_over_a_restart(path):
    key = new_key()
    name = key_hash(key.public_key())
    log = Log(path)
    assert log.holder_of(name, NOW) is None
    log.record(leaf(key), WEB, "uid-7", "10.0.0.1", NOW)
    for _ in range(2):
        holder = log.holder_of(name, NOW + 3599)
        assert holder is not None
        assert holder.pod_uid == "uid-7"
        assert log.holder_of(name, NOW + 3600) is None
        log.close()
        log = Log(path)
    log.close()


def test_keys_of_ended_certificates_are_forgotten(path):
    log, first, last = Log(path, forget_at=5), new_key(), new_key()
    log.record(leaf(first), WEB, "uid-7", "10.0.0.1", NOW)
    later = NOW + 7200
    log.record(leaf(last, later), WEB, "uid-8", "10.0.0.1", later)
    assert log.holder_of(key_hash(first.public_key()), NOW) is None     # asked as of before its end: it is not there any more
    assert log.holder_of(key_hash(last.public_key()), later) is not None
    log.close()


def test_no_directory_no_log(tmp_path):
    with pytest.raises(FileNotFoundError):
        Log(tmp_path / "none" / "issuance.log")
    assert os.listdir(tmp_path) == []
