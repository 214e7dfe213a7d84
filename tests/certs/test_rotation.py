"""In every phase, and after a crash between any two writes: OpenSSL says who verifies whom, and nobody is cut off."""

import itertools
import os
import shutil

import pytest
from cryptography import x509

from certs import files, rotation
from certs.ca import DAY_S, HTTPS_DOMAINS, fingerprint
from certs.profile import issue_https, issue_svid, permitted_domains
from certs.rotation import TRANSITIONS, Awaited, Event, Phase, awaited_of, read
from certs.trust import next_version, publish
from sidecar.model.errors import ConfigError
from sidecar.model.identity import workload_id
from sidecar.model.trust import Holder

from .support import DOMAIN, NOW, new_key, openssl_verdict

WEB = workload_id(DOMAIN, "shop", "web")
MS = int(NOW * 1000)


class Authority:
    """A directory, and the verbs on it as the command line and the issuer do them."""

    def __init__(self, directory):
        self.directory = directory
        self.old = publish(directory, NOW).authorities.roots[0]

    def begin(self):
        standing = publish(self.directory, NOW)
        rotation.begin(self.directory, standing.trust.signer, next_version(self.directory, NOW), NOW)
        return self.publish()

    def proceed(self, *without):
        rotation.proceed(self.directory, without, NOW)
        return self.publish()

    def abort(self):
        rotation.abort(self.directory, NOW)
        return self.publish()

    def hear(self, phase, *holders):
        rotation.hear(self.directory, phase, holders, NOW)
        return self.publish()

    def publish(self):
        return publish(self.directory, NOW)

    @property
    def new(self):
        return files.load_authority(self.directory / rotation.NEXT_ROOT).certificate


@pytest.fixture
def authority(tmp_path):
    files.init(tmp_path / "ca", DOMAIN, HTTPS_DOMAINS, NOW)
    return Authority(tmp_path / "ca")


def svid_of(standing):
    authority = standing.authorities.svid
    return [issue_svid(authority, new_key().public_key(), WEB, "a", 3600, NOW), authority.certificate]


def own_of(standing):
    authority = standing.own_https
    return [issue_https(authority, new_key().public_key(), ["issuer.bartizan-system.svc"], 3600, NOW), authority.certificate]


def verified_by(chain, old, new):
    """Which of the bundles old, new, both verify the chain."""
    bundles = {"old": [old], "new": [new], "both": [old, new]}
    return {name for name, roots in bundles.items() if openssl_verdict(chain, roots, NOW) == ""}


def held_by_everybody(standing):
    return [Holder(name, standing.trust.version, standing.trust.signer) for name in ("injector", "shop/web-0", "shop/web-1")]


def test_the_phases(authority):
    """Who verifies an SVID of now, and the issuer itself, in each of them."""
    before = authority.publish()
    first = authority.begin()
    old, new = authority.old, authority.new
    early = svid_of(before)
    assert list(first.authorities.roots) == [old, new]
    assert first.trust.version > before.trust.version
    assert first.trust.signer == fingerprint(old)
    assert verified_by(svid_of(first), old, new) == verified_by(own_of(first), old, new) == {"old", "both"}

    second = authority.proceed()
    assert list(second.authorities.roots) == [old, new]
    assert second.trust.signer == fingerprint(new)
    assert second.trust.version > first.trust.version
    assert verified_by(svid_of(second), old, new) == {"new", "both"}
    assert verified_by(own_of(second), old, new) == {"old", "both"}, "a pod that was admitted before trusts the old root only"
    assert verified_by(early, old, new) == {"old", "both"}

    third = authority.proceed()
    assert list(third.authorities.roots) == [new]
    assert third.trust.signer == fingerprint(new)
    assert verified_by(svid_of(third), old, new) == verified_by(own_of(third), old, new) == {"new", "both"}
    assert openssl_verdict(early, third.authorities.roots, NOW) != ""
    assert third.rotation is None


def test_what_is_left_is_an_authority_like_a_new_one(authority):
    names, domains = sorted(os.listdir(authority.directory)), permitted_domains(files.load(authority.directory).https)
    authority.begin()
    new = authority.new
    authority.proceed()
    authority.proceed()
    retired = f"retired-root-{fingerprint(authority.old)[:16]}.key"
    assert sorted(os.listdir(authority.directory)) == sorted([*names, retired])
    assert {path.stat().st_mode & 0o777 for path in authority.directory.iterdir()} == {0o600}
    assert files.load_authority(authority.directory / files.ROOT).certificate == new
    assert files.load_authority(authority.directory / retired).certificate == authority.old
    assert permitted_domains(files.load(authority.directory).https) == domains
    renewed = files.renew(authority.directory, NOW)
    assert openssl_verdict([renewed.svid.certificate], [new], NOW) == ""
    authority.begin()       # and the next may follow


def test_nobody_needs_the_old_roots_key(authority):
    (authority.directory / files.ROOT).rename(authority.directory.parent / "elsewhere")
    authority.begin()
    new = authority.new
    authority.proceed()
    authority.abort()
    authority.proceed()
    assert list(authority.publish().authorities.roots) == [authority.old]
    authority.begin()
    assert authority.new != new
    authority.proceed()
    assert list(authority.proceed().authorities.roots) == [files.load_authority(authority.directory / files.ROOT).certificate]


@pytest.mark.parametrize("phases", [0, 1])
def test_an_abort_drops_the_new_root_once_nobody_uses_it(authority, phases):
    authority.begin()
    old, new = authority.old, authority.new
    late = None
    for _ in range(phases):
        late = svid_of(authority.proceed())
    aborted = authority.abort()
    assert list(aborted.authorities.roots) == [old, new], "there may be certificates under the new root"
    assert aborted.trust.signer == fingerprint(old)
    assert verified_by(svid_of(aborted), old, new) == verified_by(own_of(aborted), old, new) == {"old", "both"}
    assert late is None or openssl_verdict(late, aborted.authorities.roots, NOW) == ""
    with pytest.raises(ConfigError, match="sign-old a rotation cannot be aborted"):
        authority.abort()
    last = authority.proceed()
    assert list(last.authorities.roots) == [old]
    assert last.rotation is None
    assert files.load_authority(authority.directory / files.ROOT).certificate == old
    assert not (authority.directory / rotation.NEXT_ROOT).exists()
    assert files.load_authority(authority.directory / f"retired-root-{fingerprint(new)[:16]}.key").certificate == new


def test_the_table_is_whole():
    """Both ends are reached from everywhere, and nothing follows upon them."""
    over = {Phase.DROP_OLD, Phase.DROP_NEW}
    assert {phase for phase, _ in TRANSITIONS} | over == set(Phase)
    assert {phase for phase, event in TRANSITIONS if event is Event.ACKNOWLEDGED} == set(Phase) - over
    assert set(TRANSITIONS.values()) == set(Phase) - {Phase.TRUST_BOTH}


class TestHolders:
    def test_one_who_lacks_it_holds_up_everybody(self, authority):
        first = authority.begin()
        needs = read(authority.directory).needs
        assert needs <= first.trust.version
        late = Holder("shop/late", needs - 1, first.trust.signer)
        standing = authority.hear(Phase.TRUST_BOTH, *held_by_everybody(first), late, Holder("shop/new"))
        assert standing.rotation.phase is Phase.TRUST_BOTH
        assert [each.name for each in standing.rotation.awaited] == ["shop/late", "shop/new"]
        assert [f"{needs - 1}" in each.why for each in standing.rotation.awaited] == [True, False]
        second = authority.hear(Phase.TRUST_BOTH, *held_by_everybody(first))
        assert second.rotation.phase is Phase.SIGN_NEW

        still_old = Holder("shop/web-1", second.trust.version, fingerprint(authority.old))
        standing = authority.hear(Phase.SIGN_NEW, *held_by_everybody(second)[:2], still_old)
        assert [each.name for each in standing.rotation.awaited] == ["shop/web-1"]
        unaware = Holder("shop/web-1", needs - 1, second.trust.signer)
        standing = authority.hear(Phase.SIGN_NEW, *held_by_everybody(second)[:2], unaware)
        assert [each.name for each in standing.rotation.awaited] == ["shop/web-1"]
        assert standing.rotation.phase is Phase.SIGN_NEW
        assert authority.hear(Phase.SIGN_NEW, *held_by_everybody(second)).rotation is None

    def test_an_answer_to_an_earlier_question_moves_nothing(self, authority):
        first = authority.begin()
        second = authority.hear(Phase.TRUST_BOTH, *held_by_everybody(first))
        assert authority.hear(Phase.TRUST_BOTH, *held_by_everybody(second)).rotation.phase is Phase.SIGN_NEW
        authority.abort()
        assert authority.hear(Phase.SIGN_NEW, *held_by_everybody(second)).rotation.phase is Phase.SIGN_OLD
        assert authority.hear(Phase.SIGN_OLD, *held_by_everybody(second)).rotation.phase is Phase.SIGN_OLD
        assert authority.hear(Phase.SIGN_OLD, *held_by_everybody(first)).rotation is None
        assert authority.hear(Phase.SIGN_OLD, *held_by_everybody(first)).rotation is None

    @pytest.mark.parametrize("names", [(), ("shop/web-0",)])
    def test_an_answer_without_the_injector_shows_nothing(self, authority, names):
        first = authority.begin()
        holders = [Holder(name, first.trust.version, first.trust.signer) for name in names]
        assert [each.name for each in authority.hear(Phase.TRUST_BOTH, *holders).rotation.awaited] == ["injector"]

    def test_nor_does_none(self, authority):
        authority.begin()
        turned = rotation.hear(authority.directory, Phase.TRUST_BOTH, "cannot be asked: gone", NOW)
        assert turned.awaited == (Awaited("injector", "cannot be asked: gone"),)

    def test_the_operator_goes_on_without_the_dead_only(self, authority):
        first = authority.begin()
        authority.hear(Phase.TRUST_BOTH, *held_by_everybody(first), Holder("shop/dead"), Holder("shop/slow"))
        assert authority.proceed().rotation.phase is Phase.TRUST_BOTH
        with pytest.raises(ConfigError, match=r"shop/daed is not awaited; awaited: shop/dead, shop/slow"):
            authority.proceed("shop/daed")
        assert [each.name for each in authority.proceed("shop/dead").rotation.awaited] == ["shop/slow"]
        second = authority.hear(Phase.TRUST_BOTH, *held_by_everybody(first), Holder("shop/dead"))
        assert second.rotation.phase is Phase.SIGN_NEW
        assert authority.proceed("shop/dead").rotation.phase is Phase.SIGN_NEW, "nobody was asked in this phase yet"
        assert awaited_of(second.rotation, [*held_by_everybody(second), Holder("shop/dead")]) == ()


def test_what_a_verb_cannot_do_it_says(authority):
    for verb in (authority.proceed, authority.abort):
        with pytest.raises(ConfigError, match="no root rotation is under way"):
            verb()
    authority.begin()
    with pytest.raises(ConfigError, match="under way already"):
        authority.begin()
    (authority.directory / rotation.ROTATION).write_bytes(b"{}")
    with pytest.raises(ConfigError, match=r"rotation\.json"):
        authority.publish()


# -- crashes


class Crash(BaseException):
    """The process is gone. What clears up after an error does not run either: the names stay as they are."""


class Crashing:
    """Lets so many changes of names happen in a directory, and then none."""

    def __init__(self, monkeypatch, most):
        self.left = most
        for name in ("rename", "link", "unlink"):
            monkeypatch.setattr(os, name, self.counted(getattr(os, name)))

    def counted(self, real):
        def call(*args, **named):
            if self.left == 0:
                raise Crash
            self.left -= 1
            return real(*args, **named)

        return call


def crash_at_each_step(source, tmp_path, monkeypatch, verb):
    """A directory for each moment at which a crash may strike while `verb` is under way, the last one being done with it."""
    for most in itertools.count():
        directory = tmp_path / f"crash-{most}"
        shutil.copytree(source, directory)
        with monkeypatch.context() as patch:
            Crashing(patch, most)
            try:
                verb(directory)
                return
            except Crash:
                pass
        yield directory


def begin(directory):
    standing = publish(directory, NOW)
    rotation.begin(directory, standing.trust.signer, next_version(directory, NOW), NOW)
    publish(directory, NOW)


def proceed(directory):
    rotation.proceed(directory, (), NOW)
    publish(directory, NOW)


def abort(directory):
    rotation.abort(directory, NOW)
    publish(directory, NOW)


def renew(directory):
    files.renew(directory, NOW)


STEPS = [
    pytest.param([], begin, [Phase.TRUST_BOTH, None], id="begin"),
    pytest.param([begin], proceed, [Phase.SIGN_NEW, Phase.TRUST_BOTH], id="sign with new"),
    pytest.param([begin, proceed], proceed, [None, Phase.SIGN_NEW], id="drop old"),
    pytest.param([begin], abort, [Phase.SIGN_OLD, Phase.TRUST_BOTH], id="abort the first"),
    pytest.param([begin, proceed], abort, [Phase.SIGN_OLD, Phase.SIGN_NEW], id="abort the second"),
    pytest.param([begin, proceed, abort], proceed, [None, Phase.SIGN_OLD], id="drop new"),
    pytest.param([], renew, [None], id="intermediates"),
]


@pytest.mark.parametrize(("before", "verb", "phases"), STEPS)
def test_a_crash_anywhere_leaves_a_directory_that_goes_on(authority, tmp_path, monkeypatch, before, verb, phases):
    for step in before:
        step(authority.directory)
    previous = publish(authority.directory, NOW)
    seen = set()
    for directory in crash_at_each_step(authority.directory, tmp_path, monkeypatch, verb):
        loaded = files.load(directory)      # as `issue` and `list` do, before anybody mends anything
        roots = {fingerprint(root) for root in loaded.roots}
        assert roots, directory
        standing = publish(directory, NOW)  # as the issuer does when it starts
        seen.add(standing.rotation and standing.rotation.phase)
        assert standing.trust.version >= previous.trust.version
        assert (standing.trust.version == previous.trust.version) == (standing.trust == previous.trust)
        # Whoever holds the trust and the certificate of before speaks with whoever holds those of now, unless nobody is left there.
        assert openssl_verdict(svid_of(standing), standing.authorities.roots, NOW) == ""
        assert openssl_verdict(own_of(standing), standing.authorities.roots, NOW) == ""
        assert openssl_verdict(svid_of(standing), previous.authorities.roots, NOW) == ""
        again = publish(directory, NOW + DAY_S)
        assert again.trust == standing.trust
        names = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
        if standing.rotation is None and verb is not begin:
            assert not {name for name in names if name.startswith(("next-", "previous-", "rotation"))}
            assert verb is renew or fingerprint(files.load_authority(directory / files.ROOT).certificate) == standing.trust.signer
    assert seen == set(phases), "each outcome was seen: it had not begun, or it is whole"


def test_the_version_that_all_must_hold_is_never_one_without_both(authority, tmp_path, monkeypatch):
    for directory in crash_at_each_step(authority.directory, tmp_path, monkeypatch, begin):
        standing = publish(directory, NOW)
        if standing.rotation is not None:
            assert len(x509.load_pem_x509_certificates(standing.trust.roots.encode())) == 2
            assert authority.publish().trust.version < standing.rotation.needs <= standing.trust.version


def test_a_phase_that_a_crash_cut_short_is_brought_to_its_end_before_the_next(authority, tmp_path, monkeypatch):
    """The issuer's task may be the first to look, and hear that all have acknowledged."""
    begin(authority.directory)
    for directory in crash_at_each_step(authority.directory, tmp_path, monkeypatch, proceed):
        if read(directory).phase is Phase.SIGN_NEW:
            turned = rotation.proceed(directory, (), NOW)
            assert turned.phase is Phase.DROP_OLD
            standing = publish(directory, NOW)
            assert openssl_verdict(svid_of(standing), standing.authorities.roots, NOW) == ""


def test_a_clock_that_is_set_back_does_not_make_a_version_that_nobody_needs(authority):
    rotation.begin(authority.directory, authority.publish().trust.signer, next_version(authority.directory, NOW + 60), NOW + 60)
    standing = authority.publish()
    assert standing.trust.version == standing.rotation.needs == MS + 60_000
