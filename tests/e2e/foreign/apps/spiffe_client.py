"""An application that has its SVID from the SPIFFE Workload API, by py-spiffe; prints JSON.

    context SOCKET              one X.509 context
    watch SOCKET COUNT          COUNT of them, one line each, as they come
    codes SOCKET                how methods end that are not served, or are called without the metadata
    parse CHAIN KEY ROOTS       PEM files, as they came from an issuer
    messages                    whether each of a JSON array of texts in hex on standard input is an X509SVIDRequest to protobuf
"""

import json
import sys
import threading
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.message import DecodeError
from spiffe import SpiffeId, TrustDomain, WorkloadApiClient, X509Bundle, X509Svid
from spiffe._proto import workload_pb2, workload_pb2_grpc


def shown(svid: X509Svid, bundle: X509Bundle) -> None:
    own = svid.private_key.public_key()
    print(json.dumps({
        "id": str(svid.spiffe_id), "serial": f"{svid.leaf.serial_number:x}", "chain": len(svid.cert_chain),
        "holder": [part.value for part in svid.leaf.subject if part.rfc4514_attribute_name == "OU"],
        "authorities": len(bundle.x509_authorities),
        "has_key": encoded(own) == encoded(svid.leaf.public_key()),
    }), flush=True)


def encoded(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)     # type: ignore[attr-defined, no-any-return]


def show(context: object) -> None:
    svid = context.default_svid     # type: ignore[attr-defined]
    shown(svid, context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain))     # type: ignore[attr-defined]


def context(socket: str) -> None:
    with WorkloadApiClient(f"unix://{socket}") as client:
        show(client.fetch_x509_context(timeout=30))
        assert client.fetch_x509_svid(timeout=30).spiffe_id == client.fetch_x509_svids(timeout=30)[0].spiffe_id
        assert client.fetch_x509_bundles(timeout=30)


def watch(socket: str, count: str) -> None:
    left, done = int(count), threading.Event()

    def told(context: object) -> None:
        nonlocal left
        show(context)
        left -= 1
        if not left:
            done.set()

    with WorkloadApiClient(f"unix://{socket}") as client:
        handler = client.stream_x509_contexts(told, lambda error: print(error, file=sys.stderr, flush=True))
        done.wait()
        handler.cancel()


def codes(socket: str) -> None:
    channel = grpc.insecure_channel(f"unix:{socket}")
    stub = workload_pb2_grpc.SpiffeWorkloadAPIStub(channel)
    other = channel.unary_unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    header = (("workload.spiffe.io", "true"),)

    def code(call: object, *arguments: object, **options: object) -> str:
        try:
            answer = call(*arguments, **options)     # type: ignore[operator]
            list(answer)
        except grpc.RpcError as exc:
            return str(exc.code().name)
        return "OK"

    print(json.dumps({
        "jwt": code(stub.FetchJWTSVID, workload_pb2.JWTSVIDRequest(audience=["a"]), metadata=header),
        "jwt bundles": code(stub.FetchJWTBundles, workload_pb2.JWTBundlesRequest(), metadata=header),
        "validate": code(stub.ValidateJWTSVID, workload_pb2.ValidateJWTSVIDRequest(audience="a", svid="b"), metadata=header),
        "other": code(other, b"", metadata=header),
        "bare": code(stub.FetchX509SVID, workload_pb2.X509SVIDRequest()),
        "bare bundles": code(stub.FetchX509Bundles, workload_pb2.X509BundlesRequest()),
    }))


def parse(chain: str, key: str, roots: str) -> None:
    svid = X509Svid.parse(Path(chain).read_bytes(), Path(key).read_bytes())
    assert SpiffeId(str(svid.spiffe_id)) == svid.spiffe_id
    shown(svid, X509Bundle.parse(TrustDomain(svid.spiffe_id.trust_domain.name), Path(roots).read_bytes()))


def messages() -> None:
    def is_one(text: str) -> bool:
        try:
            workload_pb2.X509SVIDRequest.FromString(bytes.fromhex(text))
        except DecodeError:
            return False
        return True

    print(json.dumps([is_one(text) for text in json.load(sys.stdin)]))


{"context": context, "watch": watch, "codes": codes, "parse": parse, "messages": messages}[sys.argv[1]](*sys.argv[2:])   # type: ignore[operator]
