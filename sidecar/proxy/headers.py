"""What a request says beyond the application's own words: who calls, from where, its ID, its trace. One function for each way.

    edge      from a client, to a sidecar: a new ID, no trace; and our word about the client
    inbound   from a sidecar    its word about ID and trace counts; the caller is who its certificate says
              from an ingress gateway   its word about the client counts besides
              from nobody       nothing counts: a new ID, no trace
    mesh      from our own application, to a sidecar: ID and trace count where they are well-formed
    egress    from our own application, to a stranger: nothing of the mesh leaves

Fields that claim any of it are gone before (`model/fields.py`, `CLAIMS`), in requests of either way; ID and trace, which may go on,
and a gateway's word about its client are taken out here, once for each request on whichever way, and said anew.

Trust: what comes in is a caller's word about itself; what leaves here is the kernel's, the certificate's, or matches a pattern.
Attacked by tests/proxy/test_headers.py.
Spec: RFC 7239, W3C Trace Context; x-forwarded-client-cert as Envoy writes it.
"""

import random  # noqa: TID251 -- the type of the generator that is passed in
import re
from collections.abc import Callable

from sidecar.model.call import Peer
from sidecar.model.client import ClientWord
from sidecar.model.fields import CLIENT_WORD, CONTEXT
from sidecar.model.message import Headers, RequestHead
from sidecar.protocol.client_word import read_word
from sidecar.telemetry import trace
from sidecar.telemetry.access_log import Record

from .runtime import Runtime

# > baggage: be careful with trust boundaries (W3C Baggage s4): it holds what applications tell each other of users and versions.
# A trace ID would tie what an outsider sees to what it does not; a partner who takes part in traces is rare.
_STAYS_INSIDE = CONTEXT | {b"baggage"}
_REQUEST_ID = re.compile(rb"[0-9A-Za-z-]{1,64}")
_OF_WHOM = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"forwarded"})    # of a client the gateway says them, of others we

Fields = dict[bytes, list[bytes]]


def caller_headers(runtime: Runtime, peer: Peer | None, tls: str, source: str) -> Headers:
    """What the application is told of its caller: the same for all requests of a connection.

    Args:
        tls: the version; empty in-process.
        source: the caller's address. It is all there is in `for`: who stood before it, only it could say, and nobody is believed.
    """
    address, proto = source.encode(), b"http" if peer is None else b"https"
    said = [
        (b"x-forwarded-for", address), (b"x-forwarded-proto", proto), (b"forwarded", b"for=%b;proto=%b" % (_node(source), proto)),
    ]
    if peer is not None:
        rules = runtime.rules.current
        us = rules.snapshot.workload.identity if rules else ""
        said += [
            (b"x-forwarded-client-cert", f"By={us};Hash={peer.fingerprint};URI={peer.identity}".encode()),
            (b"x-bartizan-tls", tls.encode() or b"none, in-process"),
        ]
    return said


def _node(address: str) -> bytes:
    """> Note that an IPv6 address is always enclosed in square brackets, and must be quoted (RFC 7239 s6)."""
    return f'"[{address}]"'.encode() if ":" in address else address.encode()


def inbound_headers(
    request: RequestHead, record: Record, caller: Headers, rng: random.Random, *, is_mesh: bool, is_edge: Callable[[], bool] = bool
) -> Headers:
    """To the application: `caller` is what `caller_headers` made.

    Args:
        is_edge: whether the caller is an ingress gateway, whose word counts; asked where there is one.
    """
    found = _take(request, CONTEXT)
    if CLIENT_WORD in found and is_edge() and (word := read_word(found[CLIENT_WORD])) is not None:
        record.client = word.address
        caller = _client_headers(word) + [field for field in caller if field[0] not in _OF_WHOM]
    return caller + _context(found, record, rng, is_trusted=is_mesh)


def _client_headers(word: ClientWord) -> Headers:
    """What the application is told of the client for whom a gateway asks."""
    address, proto, host = word.address.encode(), word.scheme.encode(), word.host.encode()
    said = [
        (b"x-forwarded-for", address), (b"x-forwarded-proto", proto), (b"x-forwarded-host", host), (b"x-forwarded-port", b"%d" % word.port),
        (b"forwarded", b'for=%b;host="%b";proto=%b' % (_node(word.address), host, proto)),
    ]
    if word.hash:
        said.append((b"x-bartizan-client-cert", f'Hash={word.hash};Subject="{word.subject}"'.encode()))
    return said


def edge_headers(request: RequestHead, record: Record, word: Callable[[bytes, int | None], bytes], rng: random.Random) -> Headers:
    """From a client to a sidecar: nothing that it says of itself counts, as of nobody else without an identity.

    Args:
        word: `word_of` the client, by host and port.
    """
    found = _take(request, CONTEXT)
    return [(CLIENT_WORD, word(request.host, request.port)), *_context(found, record, rng, is_trusted=False)]


def mesh_headers(request: RequestHead, record: Record, rng: random.Random) -> Headers:
    """To another sidecar."""
    return _context(_take(request, CONTEXT), record, rng, is_trusted=True)


def egress_headers(request: RequestHead, record: Record, rng: random.Random) -> Headers:
    """To an external host: nothing. ID and trace of the application's go into the log only."""
    _context(_take(request, _STAYS_INSIDE), record, rng, is_trusted=True)
    return []


def _take(request: RequestHead, taken: frozenset[bytes]) -> Fields:
    """Those of the fields `taken` that there were; they are out of `request` then."""
    found: Fields = {}
    for name, value in request.headers:
        lower = name.lower()
        if lower in taken:
            found.setdefault(lower, []).append(value)
    if found:
        request.headers[:] = [field for field in request.headers if field[0].lower() not in found]
    return found


def _context(found: Fields, record: Record, rng: random.Random, *, is_trusted: bool) -> Headers:
    """ID and trace to go on; they are in `record` then."""
    given = found.get(b"x-request-id", ()) if is_trusted else ()
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        record.request_id = given[0].decode()
    else:
        record.request_id = rng.getrandbits(128).to_bytes(16, "big").hex()      # no secret, and not worth a system call
    headers = [(b"x-request-id", record.request_id.encode())]
    if is_trusted and b"traceparent" in found:
        known = trace.take_up(found[b"traceparent"], found.get(b"tracestate", []))
        if known is not None:
            record.trace_id, record.parent_id = known.trace_id, known.parent_id
            headers += known.headers
    return headers
