"""No endpoint signs without an attestation, and no word of the requester's but its key ends up in a certificate."""

import json

import msgspec
import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.x509.oid import NameOID

from certs import files, revocation, rotation
from certs.authenticate import Attestation, JwksAttestor
from certs.ca import HTTPS_DOMAINS, INTERMEDIATE_S
from certs.issuer import (
    BUNDLE_PATH,
    BURST,
    ENDPOINTS,
    HTTPS_PATH,
    MAX_BODY_BYTES,
    ROOTS_PATH,
    STANDING_S,
    SVID_PATH,
    TRUST_PATH,
    ForPods,
    Issuer,
)
from certs.log import Log, read
from certs.request import key_hash
from certs.revocation import Revocation
from certs.trust import Follower
from sidecar.model.call import Call
from sidecar.model.trust import Trust
from sidecar.net.verify import read_svid

from .support import DOMAIN, ISSUER, JWKS, NOW, POD_UID, claims, csr_of, new_key, openssl_verdict, token

SERVERS = {("shop", "web"): ("web.shop.svc", "web.shop.svc.cluster.local")}
OTHER_UID = "99999999-0d0c-4d1c-9a53-0f5f3a5f6a10"


class World:
    """An issuer on real files, whose clock the test turns."""

    def __init__(self, directory):
        self.now = NOW
        self.authorities = files.init(directory, DOMAIN, HTTPS_DOMAINS, NOW)
        self.path = directory / files.LOG
        self.log = Log(self.path)
        self.follower = Follower(directory, lambda: self.now)
        self.issuer = self.issuer_with(JwksAttestor(JWKS, ISSUER, "bartizan"))

    def issuer_with(self, attestor):
        return Issuer(self.follower.standing, attestor, self.log, lambda *who: SERVERS.get(who), 3600, lambda: self.now)

    def revoke(self, kind, value):
        with files.locked(self.path.parent):
            assert revocation.add(self.path.parent, Revocation(kind, value, NOW))
        self.follower.look()

    def lift(self, kind, value):
        with files.locked(self.path.parent):
            assert revocation.lift(self.path.parent, kind, value)
        self.follower.look()

    async def get(self, path, query=""):
        return await self.issuer.answer(Call("GET", path, query, {}, b"", "10.0.0.7"))

    async def ask(self, body=None, *, bearer=None, method="POST", path=SVID_PATH, remote="10.0.0.7", authorization=None):
        authorization = authorization or f"Bearer {token(claims()) if bearer is None else bearer}"
        body = body if isinstance(body, bytes) else json.dumps({"csr": (body or csr_of(new_key()).decode())}).encode()
        return await self.issuer.answer(Call(method, path, "", {"authorization": authorization}, body, remote))


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "ca")
    yield world
    world.log.close()


def of_pod(uid: str, now: float = NOW) -> str:
    kubernetes = {"namespace": "shop", "pod": {"name": "p", "uid": uid}, "serviceaccount": {"name": "web", "uid": "a"}}
    return token(claims(**{"kubernetes.io": kubernetes, "exp": int(now) + 3600}))


def error_of(answer):
    assert answer.content_type == "application/json"
    document = json.loads(answer.body)
    assert list(document) == ["error"]
    return document["error"]


async def test_an_svid(world):
    key = new_key()
    answer = await world.ask(csr_of(key).decode())
    assert answer.status == 200
    issued = json.loads(answer.body)
    leaf, intermediate = (x509.load_pem_x509_certificate(pem.encode()) for pem in issued["chain"])
    roots = x509.load_pem_x509_certificates(issued["trust"]["roots"].encode())
    assert openssl_verdict([leaf, intermediate], roots, NOW) == ""
    assert leaf.public_key() == key.public_key()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [f"spiffe://{DOMAIN}/ns/shop/sa/web"]
    assert leaf.subject.get_attributes_for_oid(NameOID.USER_ID)[0].value == POD_UID
    assert issued["notAfter"] == leaf.not_valid_after_utc.timestamp() == NOW + 3600
    entry, = read(world.path)
    assert int(entry.serial, 16) == leaf.serial_number
    assert (entry.pod_uid, entry.requester) == (POD_UID, "10.0.0.7")


async def test_what_the_request_wishes_for_is_not_in_the_certificate(world):
    vault = x509.UniformResourceIdentifier(f"spiffe://{DOMAIN}/ns/bank/sa/vault")
    wish = x509.SubjectAlternativeName([vault, x509.DNSName("bank")])
    answer = await world.ask(csr_of(new_key(), wish, x509.BasicConstraints(ca=True, path_length=3)).decode())
    assert answer.status == 200
    leaf = x509.load_pem_x509_certificate(json.loads(answer.body)["chain"][0].encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [f"spiffe://{DOMAIN}/ns/shop/sa/web"]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


async def test_the_bundle_is_public(world):
    answer = await world.issuer.answer(Call("GET", ROOTS_PATH, "", {}, b"", "10.0.0.7"))
    assert answer.status == 200
    assert x509.load_pem_x509_certificates(answer.body) == list(world.authorities.roots)


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic YTpi", f"Basic {token(claims())}", "Bearer x.y.z",
                                           f"Bearer {token(claims(), key=new_key())}", f"Bearer  {token(claims())}"])
@pytest.mark.parametrize("path", [path for path, endpoint in ENDPOINTS.items() if isinstance(endpoint, ForPods)])
async def test_no_token_no_answer(world, path, authorization):
    answer = await world.ask(path=path, method=ENDPOINTS[path].method, authorization=authorization or "x")
    assert answer.status == 401
    assert "token" in error_of(answer)
    assert ("www-authenticate", "Bearer") in answer.headers
    assert list(read(world.path)) == []


def test_what_is_not_for_pods_is_only_read():
    """A new endpoint has to be thought about here."""
    public = {path: endpoint for path, endpoint in ENDPOINTS.items() if not isinstance(endpoint, ForPods)}
    assert list(public) == [ROOTS_PATH, TRUST_PATH, BUNDLE_PATH]
    assert {endpoint.method for endpoint in public.values()} == {"GET"}


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_nothing_signs_without_attestation(world, path):
    """The whole table: with a good request and no token, with a good one and a stranger's; then with the pod's own."""
    endpoint = ENDPOINTS[path]
    for bearer in ("x.y.z", token(claims(), key=new_key())):
        answer = await world.ask(path=path, method=endpoint.method, bearer=bearer)
        assert answer.status == (401 if isinstance(endpoint, ForPods) else 200)
    assert list(read(world.path)) == []
    answer = await world.ask(path=path, method=endpoint.method)
    assert answer.status == 200
    assert len(list(read(world.path))) == isinstance(endpoint, ForPods)


@pytest.mark.parametrize("path", ["/", "", "/v1", "/v1/svid/", "/v1/SVID", "//v1/svid", "/v1/../v1/svid", "/metrics"])
async def test_nothing_else_exists(world, path):
    answer = await world.ask(path=path)
    assert answer.status == 404
    assert SVID_PATH in error_of(answer)


@pytest.mark.parametrize(("path", "method", "allowed"), [
    (TRUST_PATH, "POST", "GET"), (HTTPS_PATH, "GET", "POST"), (SVID_PATH, "GET", "POST"), (SVID_PATH, "PUT", "POST"),
    (SVID_PATH, "post", "POST"), (ROOTS_PATH, "POST", "GET"),
])
async def test_nor_other_methods(world, path, method, allowed):
    answer = await world.ask(path=path, method=method)
    assert answer.status == 405
    assert answer.headers == (("allow", allowed),)
    assert allowed in error_of(answer)


@pytest.mark.parametrize(("body", "status"), [
    (b"", 400), (b"{}", 400), (b"[]", 400), (b"\xff", 400), (b'{"csr":1}', 400), (b'{"csr":"x"}', 400), (b"[" * 20000, 400),
    (b'{"csr":"x","identity":"spiffe://example.org/ns/bank/sa/vault"}', 400), (b" " * (MAX_BODY_BYTES + 1), 413),
])
async def test_bad_bodies(world, body, status):
    answer = await world.ask(body)
    assert answer.status == status
    assert error_of(answer)
    assert list(read(world.path)) == []


async def test_the_issuers_own_keys_are_refused(world):
    for authority in (world.authorities.svid, world.authorities.https):
        answer = await world.ask(csr_of(authority.key).decode())
        assert answer.status == 400
        assert "issuer's own" in error_of(answer)


async def test_a_live_key_of_another_pod_is_refused(world):
    csr = csr_of(new_key()).decode()
    assert (await world.ask(csr)).status == 200
    assert (await world.ask(csr)).status == 200, "a pod may renew for its own key"
    answer = await world.ask(csr, bearer=of_pod(OTHER_UID))
    assert answer.status == 403
    assert "another workload" in error_of(answer)
    world.now = NOW + 3600
    assert (await world.ask(csr, bearer=of_pod(OTHER_UID, world.now))).status == 200
    assert [entry.pod_uid for entry in read(world.path)] == [POD_UID, POD_UID, OTHER_UID]


async def test_two_pods_at_once_cannot_both_have_a_key(tmp_path):
    """Both are attested before either is answered."""
    both = trio.Event()

    class Slow:
        waiting = 0

        async def attest(self, token, remote, now):
            Slow.waiting += 1
            if Slow.waiting == 2:
                both.set()
            await both.wait()
            return Attestation("shop", "web", "web-0", token)

    world, csr, statuses = World(tmp_path / "ca"), csr_of(new_key()).decode(), []
    world.issuer = world.issuer_with(Slow())

    async def ask(uid):
        statuses.append((await world.ask(csr, bearer=uid)).status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, POD_UID)
        nursery.start_soon(ask, OTHER_UID)
    world.log.close()
    assert sorted(statuses) == [200, 403]


async def test_one_source_cannot_flood_and_others_do_not_suffer(world):
    statuses = [(await world.ask(bearer="x.y.z")).status for _ in range(BURST + 1)]
    assert statuses == [401] * BURST + [429]
    answer = await world.ask()
    assert answer.status == 429
    assert answer.headers == (("retry-after", "1"),)
    assert "try again in 1 s" in error_of(answer)
    assert (await world.ask(remote="10.0.0.8")).status == 200
    world.now += 1
    assert (await world.ask(bearer=of_pod(POD_UID))).status == 200


async def test_without_the_log_no_certificate_leaves(world, capsys):
    world.log.close()
    answer = await world.ask()
    assert answer.status == 503
    assert "its own output" in error_of(answer)
    assert "Bad file descriptor; nothing is issued" in capsys.readouterr().err
    world.log = Log(world.path)


async def test_an_ended_authority(world, capsys):
    world.now = NOW + INTERMEDIATE_S
    answer = await world.ask(bearer=of_pod(POD_UID, world.now))
    assert answer.status == 503
    assert "bartizan certs rotate" in capsys.readouterr().err


async def test_no_key_and_no_token_in_any_answer(world):
    bearer = token(claims())
    for answer in (await world.ask(bearer=bearer), await world.ask(b"{}", bearer=bearer), await world.ask(bearer=bearer + "x")):
        assert b"PRIVATE" not in answer.body
        assert bearer.encode() not in answer.body


def leaf_of(answer):
    assert answer.status == 200, answer.body
    return x509.load_pem_x509_certificate(json.loads(answer.body)["chain"][0].encode())


def asking(**words):
    return json.dumps({"csr": csr_of(new_key()).decode(), **words}).encode()


async def test_an_application_may_hold_a_key_and_it_is_told_apart(world):
    of_application, of_sidecar = [leaf_of(await world.ask(asking(holder=holder))) for holder in ("application", "sidecar")]
    assert (read_svid(of_application, DOMAIN).holder, read_svid(of_application, DOMAIN).pod_uid) == ("application", POD_UID)
    assert (read_svid(of_sidecar, DOMAIN).holder, read_svid(of_sidecar, DOMAIN).pod_uid) == ("", POD_UID)
    assert [entry.holder for entry in read(world.path)] == ["application", ""]
    assert (await world.ask(asking(holder="operator"))).status == 400


@pytest.mark.parametrize("holders", [("sidecar", "application"), ("application", "sidecar")])
async def test_one_key_has_one_kind_of_holder(world, holders):
    csr = csr_of(new_key()).decode()
    first, second = [await world.ask(asking(csr=csr, holder=holder)) for holder in holders]
    assert (first.status, second.status) == (200, 403)
    assert "not be by both" in error_of(second)


async def test_a_server_of_the_mesh_gets_the_names_of_the_configuration(world):
    wish = x509.SubjectAlternativeName([x509.DNSName("issuer.bartizan-system.svc")])
    answer = await world.ask(csr_of(new_key(), wish).decode(), path=HTTPS_PATH)
    issued, leaf = json.loads(answer.body), leaf_of(answer)
    chain = [x509.load_pem_x509_certificate(pem.encode()) for pem in issued["chain"]]
    assert openssl_verdict(chain, world.authorities.roots, NOW) == ""
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(name.value for name in names) == SERVERS["shop", "web"]
    entry, = read(world.path)
    assert (entry.identity, entry.pod_uid) == ("dns:web.shop.svc,web.shop.svc.cluster.local", POD_UID)
    assert issued["trust"] == json.loads((await world.get(TRUST_PATH)).body)


async def test_another_pod_gets_no_name(world):
    kubernetes = {"namespace": "shop", "pod": {"name": "p", "uid": POD_UID}, "serviceaccount": {"name": "orders", "uid": "a"}}
    bearer = token(claims(**{"kubernetes.io": kubernetes, "sub": "system:serviceaccount:shop:orders"}))
    answer = await world.ask(path=HTTPS_PATH, bearer=bearer)
    assert answer.status == 403
    assert "shop/orders is none of the mesh's own servers" in error_of(answer)
    assert (await world.ask(asking(names=["a.svc"]), path=HTTPS_PATH)).status == 400
    assert list(read(world.path)) == []


@pytest.mark.parametrize("path", [SVID_PATH, HTTPS_PATH])
@pytest.mark.parametrize("kind", ["identity", "pod", "key"])
async def test_the_deny_list_binds_the_issuer(world, kind, path):
    key = new_key()
    values = {"identity": f"spiffe://{DOMAIN}/ns/shop/sa/web", "pod": POD_UID, "key": key_hash(key.public_key())}
    world.revoke(kind, values[kind])
    answer = await world.ask(csr_of(key).decode(), path=path)
    assert answer.status == 403
    assert "was revoked" in error_of(answer)
    assert list(read(world.path)) == []
    world.lift(kind, values[kind])
    assert (await world.ask(csr_of(key).decode(), path=path)).status == 200


async def test_a_revoked_certificate_may_be_replaced(world):
    leaf = leaf_of(await world.ask())
    world.revoke("serial", f"{leaf.serial_number:032x}")
    issued = json.loads((await world.ask()).body)
    assert issued["trust"]["revoked"]["serials"] == [f"{leaf.serial_number:032x}"]


async def test_trust_is_a_standing_question(world, autojump_clock):
    trust = world.follower.standing.current.trust
    for query in ("", "seen=0", f"seen={trust.version - 1}", f"seen={trust.version + 1}"):
        answer = await world.get(TRUST_PATH, query)
        assert answer.status == 200
        assert msgspec.json.decode(answer.body, type=Trust) == trust
    began = trio.current_time()
    answer = await world.get(TRUST_PATH, f"seen={trust.version}")
    assert (answer.status, answer.body) == (304, b"")
    assert trio.current_time() - began == STANDING_S


async def test_it_is_answered_when_there_is_news(world, autojump_clock):
    before, answers = world.follower.standing.current.trust, []

    async def stand():
        answers.append(await world.get(TRUST_PATH, f"seen={before.version}"))

    with trio.fail_after(STANDING_S - 1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stand)
            await trio.testing.wait_all_tasks_blocked()
            files.renew(world.path.parent, NOW)     # no news of trust
            world.follower.look()
            await trio.testing.wait_all_tasks_blocked()
            assert answers == []
            world.revoke("pod", OTHER_UID)
    answer, = answers
    trust = msgspec.json.decode(answer.body, type=Trust)
    assert trust.revoked.pods == (OTHER_UID,)
    assert trust.version > before.version


@pytest.mark.parametrize("query", ["seen=", "seen=x", "seen=-1", "seen=1&seen=2", "other=1", "seen=٧", "seen=" + "9" * 30])
async def test_bad_questions(world, query):
    assert (await world.get(TRUST_PATH, query)).status == 400


async def test_the_spiffe_bundle(world):
    document = json.loads((await world.get(BUNDLE_PATH)).body)
    trust = world.follower.standing.current.trust
    assert document["spiffe_sequence"] == trust.version
    assert len(document["keys"]) == 1


async def test_new_intermediates_sign_without_a_restart(world):
    made = files.renew(world.path.parent, NOW)
    world.follower.look()
    issued = json.loads((await world.ask()).body)
    assert issued["chain"][1] == files.pem_of(made.svid.certificate).decode()
    for authority in (made.svid, made.https):
        assert (await world.ask(csr_of(authority.key).decode())).status == 400


async def test_while_roots_are_rotated_all_keys_that_sign_are_the_issuers_own(world):
    directory = world.path.parent
    for step in (lambda: rotation.begin(directory, world.follower.standing.current.trust.signer, 1, NOW),
                 lambda: rotation.proceed(directory, (), NOW)):
        with files.locked(directory):
            step()
        world.follower.look()
    standing = world.follower.standing.current
    assert standing.own_https.key.private_numbers() != standing.authorities.https.key.private_numbers()
    for authority in (standing.own_https, standing.authorities.https, standing.authorities.svid):
        answer = await world.ask(csr_of(authority.key).decode())
        assert answer.status == 400
        assert "issuer's own" in error_of(answer)
