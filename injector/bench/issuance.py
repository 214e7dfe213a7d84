"""What one SVID costs the issuer, beside what of it is bare key work of `cryptography`: in this process, CPU time, no network.

Bare: the request read and its signature verified, the token's signature verified, the same certificate built and signed. The
difference is everything that makes it safe: the token's claims, the key's own rules, who is revoked or holds the key, the log.
The log lies in memory, since a disk is not what is measured.
"""

import json
import time
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certs import files
from certs.authenticate import JwksAttestor
from certs.issuer import SVID_PATH, Issuer
from certs.log import Log
from certs.profile import issue_svid
from certs.trust import publish
from injector.demo.tokens import TokenSigner
from sidecar.model.call import Call
from sidecar.model.identity import workload_id
from sidecar.net.watched import Watched

from .errors import BenchError
from .layout import TRUST_DOMAIN

REQUESTS = 200
SOURCES = 100       # the addresses that ask, so that no limit per address is met
TOKEN_ISSUER, AUDIENCE = "https://kubernetes.default.svc.cluster.local", "bartizan"
POD = {"metadata": {"namespace": "bench", "name": "client-0", "uid": "client-0"}, "spec": {"serviceAccountName": "client"}}


class Issuance:
    """An issuer, and requests of one pod with a key each."""

    def __init__(self, folder: Path, now: float) -> None:
        signer = TokenSigner(TOKEN_ISSUER)
        self._token = signer.token(POD, "client", AUDIENCE, 3600, now)
        files.init(folder, TRUST_DOMAIN, ["svc"], now)
        with files.locked(folder):
            self._standing = publish(folder, now)
        self._now = now
        self._log = Log(folder / files.LOG)
        attestor = JwksAttestor(json.dumps(signer.jwks()).encode(), TOKEN_ISSUER, AUDIENCE)
        self._issuer = Issuer(Watched(self._standing), attestor, self._log, lambda namespace, account: None, 86400.0, lambda: now)
        self._signed = ec.generate_private_key(ec.SECP256R1())
        self._signature = self._signed.sign(self._token.encode(), ec.ECDSA(hashes.SHA256()))

    def requests(self) -> list[bytes]:
        """PEM, each of a new key."""
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(REQUESTS)]
        empty = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return [empty.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM) for key in keys]

    def issued_us(self, requests: list[bytes]) -> float:
        """CPU time for one, by the issuer."""
        headers = {"authorization": f"Bearer {self._token}"}
        calls = [Call("POST", SVID_PATH, "", headers, json.dumps({"csr": request.decode()}).encode(), f"10.0.0.{number % SOURCES}")
                 for number, request in enumerate(requests)]

        async def ask() -> float:
            before = time.process_time()
            for call in calls:
                answer = await self._issuer.answer(call)
                if answer.status != 200:
                    raise BenchError(f"the issuer answered {answer.status}: {answer.body.decode()}")
            return time.process_time() - before

        return trio.run(ask) / len(calls) * 1e6

    def bare_us(self, requests: list[bytes]) -> float:
        """CPU time for one, of the key work alone."""
        identity, token_key = workload_id(TRUST_DOMAIN, "bench", "client"), self._signed.public_key()
        before = time.process_time()
        for request in requests:
            csr = x509.load_pem_x509_csr(request)
            key = csr.public_key()
            assert csr.is_signature_valid
            assert isinstance(key, ec.EllipticCurvePublicKey)
            token_key.verify(self._signature, self._token.encode(), ec.ECDSA(hashes.SHA256()))
            issue_svid(self._standing.authorities.svid, key, identity, "client-0", 86400.0, self._now)
        return (time.process_time() - before) / len(requests) * 1e6

    def close(self) -> None:
        self._log.close()
