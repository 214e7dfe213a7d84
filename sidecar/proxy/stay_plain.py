"""What is changed in the answers of an external host, so that an application that speaks plain HTTP stays on the originated path.

    Location, Content-Location     `https://host` and `//host` of this very host and port become `http://host` and the port that was
                                   dialled. What names another host or port, or another scheme, is left
    Set-Cookie                     `Secure` is taken off: no client keeps or returns such a cookie over plain HTTP. Off `__Secure-` and
                                   `__Host-` cookies, too: a client that knows these prefixes refuses them from plain HTTP either way
    Strict-Transport-Security,     are left out: a host MUST NOT say the one over plain HTTP (RFC 6797 s7.2), and the other leads to
    Alt-Svc                        where nothing is approved (RFC 7838)

`Link`, `Refresh` and bodies are left as they are. An application that follows their `https://` speaks TLS itself, and passes where its
own TLS is approved. Between application and sidecar there is only the pod's loopback; outside it stays TLS.

Spec: RFC 9110 s8.7, s10.2.2, RFC 3986 s4.2, RFC 6265bis s4.1.3, s5.6.5.
"""

import re

from msgspec.structs import replace

from sidecar.model.message import Headers, ResponseHead

_LOCATIONS = frozenset({b"location", b"content-location"})
_LEFT_OUT = frozenset({b"strict-transport-security", b"alt-svc"})
_TOUCHED = _LOCATIONS | _LEFT_OUT | {b"set-cookie"}
# The authority ends where a path, a query or a fragment begins; with user information or a backslash in it it is not ours.
_OF_HTTPS = re.compile(rb"(?:https:)?//([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


def stay_plain(response: ResponseHead, *, host: bytes, port: int, tls_port: int) -> ResponseHead:
    """
    Args:
        host: as the application's Host says, lower case, without a port.
        port: that the application dialled.
        tls_port: where the host listens.
    """
    if _TOUCHED.isdisjoint([name.lower() for name, _ in response.headers]):
        return response
    headers: Headers = []
    for name, value in response.headers:
        field = name.lower()
        if field in _LEFT_OUT:
            continue
        if field in _LOCATIONS:
            value = _plain_location(value, host, port, tls_port)
        elif field == b"set-cookie":
            pair, *attributes = value.split(b";")
            value = b";".join([pair, *(one for one in attributes if one.partition(b"=")[0].strip().lower() != b"secure")])
        headers.append((name, value))
    return replace(response, headers=headers)


def _plain_location(value: bytes, host: bytes, port: int, tls_port: int) -> bytes:
    found = _OF_HTTPS.fullmatch(value)
    if found is None:
        return value
    authority, rest = found[1].lower(), found[2]
    spelt = {host + b":%d" % tls_port} | ({host, host + b":"} if tls_port == 443 else set())
    if authority not in spelt:
        return value
    return b"http://" + host + (b"" if port == 80 else b":%d" % port) + rest
