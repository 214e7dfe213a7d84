"""Errors by blame. A refusal is no error but a value (`Denied`); a bug is an AssertionError.

    MeshError
      ConfigError          whoever wrote the document
      PeerError            the downstream: ProtocolViolation, TlsRejected, ClientTlsRejected, DownstreamTimedOut, DownstreamGone
      UpstreamError        the upstream: ConnectFailed, TimedOut, Reset, NoEndpoint, BadResponse, NotResolved,
                           NotVerified, StartTlsRefused, WrongIdentity
      Unavailable          this sidecar cannot do it now: no identity, no snapshot, secret missing

`proxy/respond.py` alone maps them to a status. Those below ReasonedError (all but ConfigError) know their `reason`. What only one
command or server raises (InterceptionFailed, Refused, Invalid, ...) stands beside it, below MeshError.
"""

from .reason import Reason


class MeshError(Exception):
    """Anything that is expected to go wrong: one line in the log, never a traceback."""


class ConfigError(MeshError):
    """A document is not valid.

    Args:
        where: path to the field, `inbound.routes[2].name`; empty for the whole document.
        problem: what is wrong with it, and the cure where one is known.
    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where = where
        self.problem = problem


class ReasonedError(MeshError):
    """
    Attributes:
        rule: that refuses, where it is another than the one that was found before.
    """

    reason: Reason
    rule = ""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.reason.token)
        self.detail = detail


class PeerError(ReasonedError):
    """The downstream did it."""


class ProtocolViolation(PeerError):
    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class TlsRejected(PeerError):
    reason = Reason.PEER_NOT_VERIFIED


class ClientTlsRejected(TlsRejected):
    """A client of the ingress gateway's, who has no identity in the mesh."""

    reason = Reason.CLIENT_TLS


class DownstreamTimedOut(PeerError):
    reason = Reason.TIMED_OUT_DOWNSTREAM


class DownstreamGone(PeerError):
    """The downstream closed or reset while it still had an answer to get; there is nobody left to tell."""

    reason = Reason.TIMED_OUT_DOWNSTREAM


class UpstreamError(ReasonedError):
    """The upstream did it, or the way to it."""


class ConnectFailed(UpstreamError):
    """
    Args:
        is_refused: the host answered that nothing listens there.
    """

    reason = Reason.CONNECT_FAILED

    def __init__(self, detail: str = "", *, is_refused: bool = False) -> None:
        super().__init__(detail)
        self.is_refused = is_refused


class GatewayUnreached(ConnectFailed):
    """There is no way to the egress gateway, by which alone a host may be reached."""

    reason = Reason.GATEWAY_UNREACHED


class TimedOut(UpstreamError):
    """
    Args:
        is_before_request: no connection was made in time, so nothing was sent.
    """

    reason = Reason.TIMED_OUT

    def __init__(self, detail: str = "", *, is_before_request: bool = False) -> None:
        super().__init__(detail)
        self.is_before_request = is_before_request


class Reset(UpstreamError):
    """
    Args:
        is_unprocessed: the upstream said that it has not looked at the request (REFUSED_STREAM, GOAWAY): any may be sent again.
        is_alone: it ended this exchange, and its connection goes on: an answer of a kind.
    """

    reason = Reason.RESET

    def __init__(self, detail: str = "", *, is_unprocessed: bool = False, is_alone: bool = False) -> None:
        super().__init__(detail)
        self.is_unprocessed = is_unprocessed
        self.is_alone = is_alone


class NoEndpoint(UpstreamError):
    reason = Reason.NO_ENDPOINT


class BadResponse(UpstreamError):
    reason = Reason.BAD_RESPONSE


class NotResolved(UpstreamError):
    reason = Reason.NAME_NOT_RESOLVED


class NotVerified(UpstreamError):
    reason = Reason.SERVER_NOT_VERIFIED


class StartTlsRefused(UpstreamError):
    reason = Reason.START_TLS_REFUSED


class WrongIdentity(UpstreamError):
    reason = Reason.WRONG_IDENTITY


class Unavailable(ReasonedError):
    def __init__(self, reason: Reason, detail: str = "", rule: str = "") -> None:
        self.reason = reason
        self.rule = rule
        super().__init__(detail)
