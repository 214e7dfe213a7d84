import json
import os

import msgspec
import pytest
import trio
from cryptography import x509

from certs import files
from certs.ca import HTTPS_DOMAINS, INTERMEDIATE_S, fingerprint
from certs.cli import main
from certs.log import Log, read
from certs.server import OWN_LIFETIME_S, RETRY_S, OwnCertificate, parse_config, serve
from certs.trust import Follower
from sidecar.model.address import Address
from sidecar.model.errors import ConfigError, NotVerified
from sidecar.model.trust import Trust
from sidecar.net.clock import wall_clock
from sidecar.net.dial import Dialer
from sidecar.net.service import call_https
from sidecar.net.tls_context import https_client
from sidecar.net.tls_stream import TlsStream

from .support import DOMAIN, ISSUER, JWKS, NOW, POD_UID, claims, csr_of, new_key, openssl_verdict, token

NAME = "issuer.bartizan-system.svc"


def document(tmp_path, **changed):
    good = {
        "directory": str(tmp_path / "ca"), "trustDomain": DOMAIN, "names": [NAME], "address": "127.0.0.1", "port": 0,
        "tokens": {"jwksFile": str(tmp_path / "jwks.json"), "issuer": ISSUER},
    }
    return json.dumps({name: value for name, value in (good | changed).items() if value is not None}).encode()


@pytest.mark.parametrize(("changed", "where"), [
    ({"directory": None}, "directory"),
    ({"names": []}, "names"),
    ({"tokens": {"jwksFile": "x"}}, "tokens"),
    ({"lifetimeS": 10}, "lifetimeS"),
    ({"lifetimeS": 864000}, "lifetimeS"),
    ({"port": 65536}, "port"),
    ({"lifetime": 3600}, "lifetime"),
    ({"trustDomain": "A B"}, "trustDomain"),
    ({"identity": "spiffe://other.org/ns/a/sa/b"}, "identity"),
    ({"identity": "issuer"}, "identity"),
    ({"injectorUrl": "http://injector"}, "injectorUrl"),
    ({"servers": [{"namespace": "a", "serviceAccount": "b", "names": []}]}, "servers"),
    ({"servers": [{"namespace": "a", "serviceAccount": "b", "names": [name]} for name in ("a.svc", "b.svc")]}, "servers"),
])
def test_bad_configurations(tmp_path, changed, where):
    with pytest.raises(ConfigError, match=where):
        parse_config(document(tmp_path, **changed))


class TestOwnCertificate:
    @pytest.fixture
    def world(self, tmp_path):
        authorities = files.init(tmp_path / "ca", DOMAIN, HTTPS_DOMAINS, NOW)
        log = Log(tmp_path / "ca" / files.LOG)
        self.now = NOW
        self.follower = Follower(tmp_path / "ca", lambda: self.now)
        yield authorities, log
        log.close()

    def own(self, world):
        return OwnCertificate(self.follower.standing, (NAME,), world[1], lambda: self.now)

    def test_it_is_renewed_at_half_life_and_logged(self, world, tmp_path):
        own = self.own(world)
        first = own.current()
        self.now += OWN_LIFETIME_S / 2 - 1
        assert own.current() is first
        self.now += 1
        second = own.current()
        assert second is not first
        assert own.current() is second
        assert openssl_verdict(second.chain, world[0].roots, self.now) == ""
        assert [entry.identity for entry in read(tmp_path / "ca" / files.LOG)] == [f"dns:{NAME}"] * 2

    def test_near_the_authoritys_end_it_is_not_renewed_for_ever(self, world, tmp_path):
        self.now = NOW + INTERMEDIATE_S - 1000
        own = self.own(world)
        for _ in range(10):
            self.now += 99
            assert own.current().chain[0].not_valid_after_utc == world[0].https.certificate.not_valid_after_utc
        assert len(list(read(tmp_path / "ca" / files.LOG))) == 1

    def test_if_renewal_fails_the_previous_one_serves_on_and_it_is_said(self, world, capsys):
        own = self.own(world)
        first = own.current()
        self.now = NOW + INTERMEDIATE_S     # the authority has ended
        assert own.current() is first
        assert "bartizan certs rotate" in capsys.readouterr().err
        self.now += RETRY_S - 1
        assert own.current() is first
        assert capsys.readouterr().err == ""
        self.now += 1
        assert own.current() is first
        assert "not renewed" in capsys.readouterr().err

    def test_it_follows_the_authority_above_it(self, world, tmp_path):
        own = self.own(world)
        first = own.current()
        made = files.renew(tmp_path / "ca", NOW)
        self.follower.look()
        second = own.current()
        assert second.chain[1] == made.https.certificate != first.chain[1]
        assert own.current() is second

    def test_a_name_that_the_authority_may_not_sign(self, world):
        with pytest.raises(ConfigError, match="--https-domain"):
            OwnCertificate(self.follower.standing, ("bank.example",), world[1], lambda: NOW)


async def test_a_pod_gets_its_svid_over_https(tmp_path):
    now = wall_clock()
    authorities = files.init(tmp_path / "ca", DOMAIN, HTTPS_DOMAINS, now)
    (tmp_path / "jwks.json").write_bytes(JWKS)
    body = json.dumps({"csr": csr_of(new_key()).decode()}).encode()
    bearer = token(claims(nbf=int(now), exp=int(now) + 600))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(serve, parse_config(document(tmp_path)))
            answer = await call_https(
                Dialer(), ["127.0.0.1"], f"https://{NAME}:{port}/v1/svid", "POST", roots=authorities.roots,
                headers=[(b"authorization", b"Bearer " + bearer.encode())], body=body,
            )
            nursery.cancel_scope.cancel()
    assert answer.status == 200, answer.body
    chain = [x509.load_pem_x509_certificate(pem.encode()) for pem in json.loads(answer.body)["chain"]]
    assert openssl_verdict(chain, authorities.roots, now) == ""
    own, entry = read(tmp_path / "ca" / files.LOG)
    assert (own.requester, entry.requester, entry.pod_uid) == ("issuer", "127.0.0.1", POD_UID)
    Log(tmp_path / "ca" / files.LOG).close()    # the lock went with the server


async def test_it_does_not_begin_with_names_that_it_may_not_sign(tmp_path):
    files.init(tmp_path / "ca", DOMAIN, HTTPS_DOMAINS, wall_clock())
    servers = [{"namespace": "a", "serviceAccount": "b", "names": ["bank.example"]}]
    with pytest.raises(ConfigError, match=r"servers\[0\]\.names: bank\.example is not below svc"):
        await serve(parse_config(document(tmp_path, servers=servers)))


async def test_it_follows_the_directory_without_ending_a_connection(tmp_path):
    """Over real HTTPS: a revocation answers the question that stands; a whole root rotation, while one connection goes on."""
    directory = tmp_path / "ca"
    old, = files.init(directory, DOMAIN, HTTPS_DOMAINS, wall_clock()).roots
    (tmp_path / "jwks.json").write_bytes(JWKS)

    async def get(port, path, *roots):
        answer = await call_https(Dialer(), ["127.0.0.1"], f"https://{NAME}:{port}{path}", "GET", roots=roots)
        return msgspec.json.decode(answer.body, type=Trust)

    async def until(port, signs, *trusted, roots):
        """The trust as soon as it is this."""
        seen = 0
        while True:
            trust = await get(port, f"/v1/trust?seen={seen}", *roots)
            found = x509.load_pem_x509_certificates(trust.roots.encode())
            if trust.signer == fingerprint(signs) and found == list(trusted):
                return
            seen = trust.version

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(serve, parse_config(document(tmp_path)))
            sock = await Dialer().connect(Address("127.0.0.1", port))
            async with TlsStream(https_client([old]), sock, is_server=False, server_name=NAME) as open_since_before:
                await open_since_before.handshake(NotVerified)
                first = await get(port, "/v1/trust", old)

                assert main(["revoke", str(directory), "--pod", POD_UID]) == 0
                news = await get(port, f"/v1/trust?seen={first.version}", old)
                assert news.revoked.pods == (POD_UID,)

                assert main(["rotate", str(directory), "--root"]) == 0
                new = files.load(directory).roots[1]
                await until(port, old, old, new, roots=[old])
                assert main(["rotate", str(directory), "--proceed"]) == 0
                await until(port, new, old, new, roots=[old])
                assert main(["rotate", str(directory), "--proceed"]) == 0
                await until(port, new, new, roots=[old, new])   # who was acknowledged trusts both, until it hears of this
                assert await get(port, "/v1/trust", new)
                with pytest.raises(NotVerified):
                    await get(port, "/v1/trust", old)

                await open_since_before.send_all(b"GET /v1/roots HTTP/1.1\r\nhost: " + NAME.encode() + b"\r\n\r\n")
                answer = await open_since_before.receive_some()
                assert answer.startswith(b"HTTP/1.1 200")
            nursery.cancel_scope.cancel()


async def test_it_does_not_begin_with_another_domains_directory(tmp_path):
    files.init(tmp_path / "ca", "other.org", HTTPS_DOMAINS, NOW)
    with pytest.raises(ConfigError, match=r"trustDomain: .*'other.org', not 'example.org'"):
        await serve(parse_config(document(tmp_path)))


async def test_it_does_not_begin_without_keys_to_check_tokens(tmp_path):
    files.init(tmp_path / "ca", DOMAIN, HTTPS_DOMAINS, wall_clock())
    with pytest.raises(FileNotFoundError, match="jwks"):
        await serve(parse_config(document(tmp_path)))
    assert sorted(os.listdir(tmp_path)) == ["ca"]


