"""A version for each content and a content for each version, counting up whatever happens to the clock."""

import json
import os

import pytest
import trio

from certs import files, revocation
from certs.ca import HTTPS_DOMAINS, create_root, fingerprint
from certs.revocation import Revocation
from certs.trust import LOOK_EVERY_S, PUBLISHED, Follower, next_version, publish
from sidecar.model.errors import ConfigError
from sidecar.model.trust import Trust, check_trust

from .support import DOMAIN, NOW, POD_UID

SERIAL = "0" * 31 + "7"
MS = int(NOW * 1000)


@pytest.fixture
def directory(tmp_path):
    files.init(tmp_path / "ca", DOMAIN, HTTPS_DOMAINS, NOW)
    return tmp_path / "ca"


def revoke(directory, *, now=NOW, until=0.0, kind="pod", value=POD_UID):
    with files.locked(directory):
        assert revocation.add(directory, Revocation(kind, value, now, "", until))


def test_what_is_published_is_what_stands_in_the_directory(directory):
    standing = publish(directory, NOW)
    root, = standing.authorities.roots
    assert standing.trust == Trust(MS, files.pem_of(root).decode(), fingerprint(root))
    check_trust("trust", standing.trust)
    assert standing.own_https.certificate == standing.authorities.https.certificate
    assert (directory / PUBLISHED).stat().st_mode & 0o777 == 0o600
    revoke(directory)
    assert publish(directory, NOW + 1).trust.revoked.pods == (POD_UID,)
    assert publish(directory, NOW + 1).deny.why("", POD_UID, 0, "")


def test_the_same_content_has_one_version(directory):
    first = publish(directory, NOW).trust
    before = os.stat(directory / PUBLISHED)
    assert publish(directory, NOW + 1000).trust == first
    assert os.stat(directory / PUBLISHED) == before
    files.renew(directory, NOW)
    assert publish(directory, NOW + 1000).trust == first, "whom the mesh trusts is not changed by another intermediate"


@pytest.mark.parametrize("later_s", [0.0, -1e9, 1e-4])
def test_versions_count_up_whatever_the_clock_says(directory, later_s):
    first = publish(directory, NOW).trust
    revoke(directory)
    assert next_version(directory, NOW + later_s) == MS + 1
    second = publish(directory, NOW + later_s).trust
    assert (first.version, second.version) == (MS, MS + 1)


def test_without_the_last_one_the_clock_counts_on(directory):
    publish(directory, NOW)
    (directory / PUBLISHED).unlink()
    assert publish(directory, NOW + 5).trust.version == MS + 5000


def test_a_damaged_one_is_named(directory):
    (directory / PUBLISHED).write_bytes(b"{")
    with pytest.raises(ConfigError, match=r"trust\.json.*remove it"):
        publish(directory, NOW)


class TestFollower:
    now = NOW

    def follow(self, directory):
        return Follower(directory, lambda: self.now)

    async def test_it_takes_what_changes_within_a_second(self, directory, autojump_clock):
        follower = self.follow(directory)
        assert LOOK_EVERY_S < 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.run)
            first = follower.standing.current
            revoke(directory)
            with trio.fail_after(1):
                second = await follower.standing.wait_change(first)
            nursery.cancel_scope.cancel()
        assert second.trust.revoked.pods == (POD_UID,)
        assert json.loads((directory / PUBLISHED).read_bytes())["version"] == second.trust.version > first.trust.version

    def test_nothing_new_is_nothing_done(self, directory):
        follower = self.follow(directory)
        first = follower.standing.current
        follower.look()
        assert follower.standing.current is first

    def test_new_intermediates_and_roots_are_taken(self, directory):
        follower = self.follow(directory)
        made = files.renew(directory, NOW)
        follower.look()
        assert follower.standing.current.authorities.svid.certificate == made.svid.certificate
        other = create_root(DOMAIN, NOW).certificate
        (directory / files.ROOTS).write_bytes(files.pem_of(*made.roots, other))
        follower.look()
        assert other in follower.standing.current.authorities.roots

    def test_a_serial_falls_off_when_its_time_is_over(self, directory):
        revoke(directory, kind="serial", value=SERIAL, until=NOW + 100)
        follower = self.follow(directory)
        first = follower.standing.current
        assert first.trust.revoked.serials == (SERIAL,)
        self.now = NOW + 99
        follower.look()
        assert follower.standing.current is first
        self.now = NOW + 100
        follower.look()
        assert follower.standing.current.trust.revoked.serials == ()
        assert follower.standing.current.trust.version > first.trust.version

    def test_what_cannot_be_taken_is_told_once_and_changes_nothing(self, directory, capsys):
        revoke(directory)
        follower = self.follow(directory)
        first = follower.standing.current
        (directory / revocation.REVOKED).write_bytes(b"{}}")
        for _ in range(2):
            follower.look()
        assert capsys.readouterr().err.count("kept what was published before") == 1
        assert follower.standing.current is first
        files.write(directory / revocation.REVOKED, b"{}", replace=True)
        follower.look()
        assert follower.standing.current.trust.revoked.pods == ()

    def test_it_waits_for_whoever_is_writing(self, directory):
        follower = self.follow(directory)
        first = follower.standing.current
        with files.locked(directory):
            revocation.add(directory, Revocation("pod", POD_UID, NOW))
            follower.look()
            assert follower.standing.current is first
        follower.look()
        assert follower.standing.current.trust.revoked.pods == (POD_UID,)

    def test_a_restart_goes_on_where_it_was(self, directory):
        first = self.follow(directory).standing.current
        self.now = NOW - 1000
        assert self.follow(directory).standing.current.trust == first.trust
