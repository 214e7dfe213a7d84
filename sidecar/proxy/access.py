"""Who may come in at the edge: from what a request brings to a Permit, or to what the client is told instead.

    1  from where               a rule that nobody from there can pass looks at no credentials
    2  who is it?               one of the ways of the rule's `Access`, verified: its claims
    3  may it?                  `allow` and `deny` of the rule, on address and claims
    4  the authorizer           if there is one, has the last word
    5  what is told             claims and the authorizer's fields, said by us alone, whatever rule decides; the credentials stay here

Trust: the client is a stranger, in every byte. It is told what it may bring, never whether it was the user or the password that was
wrong; guessing costs it time, and nobody else's. Attacked by tests/proxy/test_access.py.
"""

from collections.abc import Awaitable, Set

import msgspec
import trio

from sidecar.model.address import client_network
from sidecar.model.client import Client
from sidecar.model.decision import Denied, Permit
from sidecar.model.edge import Access, Basic, BasicUser, EdgeRoute, External
from sidecar.model.message import Headers, RequestHead
from sidecar.model.reason import Reason
from sidecar.model.route import Match, RateLimit, TokenIssuer
from sidecar.net.jwt import Tokens
from sidecar.net.passwords import Busy, Passwords
from sidecar.policy import credentials
from sidecar.policy.authorize import authorize_client, judge_source
from sidecar.policy.credentials import Brought, Verified
from sidecar.policy.rate_limit import Buckets
from sidecar.policy.route_table import Found
from sidecar.policy.rules import Rules
from sidecar.telemetry.access_log import Record

from .authorizer import Authorizer
from .originate import Originator
from .plan import Reply
from .runtime import Runtime

MOST_WRONG = 10     # passwords, of one client, a minute
Issuers = tuple[TokenIssuer, ...]


class Admitted(msgspec.Struct, frozen=True):
    """
    Args:
        verified: None: it did not say who it is, and need not.
    """

    permit: Permit
    request: RequestHead
    verified: Verified | None = None


Judged = Admitted | Denied | Reply


class Clients:
    """Lets clients in; one for the process."""

    def __init__(self, originator: Originator, runtime: Runtime) -> None:
        self._runtime = runtime
        self._authorizer = Authorizer(originator, runtime)
        self._tokens = Tokens()
        self._passwords = Passwords()
        self._wrong = Buckets(RateLimit(requests=MOST_WRONG, per_s=60.0))

    def admit(
        self, found: Found[EdgeRoute], rules: Rules, request: RequestHead, client: Client, record: Record
    ) -> Judged | Awaitable[Judged]:
        """Whether a request may go on; its fields are then what the application may see, in the very list that `request` holds. At once,
        unless a password is to be verified, or the authorizer to be asked.

        Args:
            found: the rule that decides, by `rules`.
        """
        route, edge = found.rule, rules.edge
        access = edge.access(route)
        if (refused := judge_source(found, request, client.address)) is not None:                   # 1
            return refused
        if access.unusable:
            return Denied(Reason.ACCESS_UNUSABLE, route.name, access.unusable)
        verified = self._verify(route, access, edge.issuers, request, client) if credentials.has_ways(access) else None     # 2
        if verified is None or isinstance(verified, (Verified, Denied)):
            return self._judge(found, rules, access, request, client, record, verified)
        return self._judge_later(found, rules, access, request, client, record, verified)

    async def _judge_later(
        self, found: Found[EdgeRoute], rules: Rules, access: Access, request: RequestHead, client: Client, record: Record,
        verifying: Awaitable[Verified | Denied],
    ) -> Judged:
        judged = self._judge(found, rules, access, request, client, record, await verifying)
        return judged if isinstance(judged, (Admitted, Denied, Reply)) else await judged

    def _judge(
        self, found: Found[EdgeRoute], rules: Rules, access: Access, request: RequestHead, client: Client, record: Record,
        verified: Verified | Denied | None,
    ) -> Judged | Awaitable[Judged]:
        if isinstance(verified, Denied):
            return verified
        route, edge = found.rule, rules.edge
        claims = verified.claims if verified is not None else None
        record.user = str(claims.get("sub", "")) if claims is not None else ""
        judged = authorize_client(found, request, client.address, claims)                          # 3
        if isinstance(judged, Denied):
            is_unasked = verified is None and judged.reason is Reason.NOT_ALLOWED and credentials.has_ways(access)
            return _not_authenticated(route, access, "the rule lets in clients with certain claims") if is_unasked else judged
        taken = edge.taken_fields(route)
        told = credentials.claim_headers(access.claim_headers, claims) if access.claim_headers else []
        if access.external is not None:                                                             # 4
            shown = _without(request.headers, edge.owned_fields(route)) + told
            return self._ask(access.external, shown, taken, told, client, record, Admitted(judged, request, verified))
        return _let_in(Admitted(judged, request, verified), taken, told)

    async def _ask(
        self, external: External, shown: Headers, taken: Set[bytes], told: Headers, client: Client, record: Record, admitted: Admitted,
    ) -> Judged:
        said = await self._authorizer.ask(external, admitted.request, shown, client, admitted.permit, record)
        if not isinstance(said, list):
            return said
        return _let_in(admitted, taken, _without(told, {name for name, _ in said}) + said)

    def still(self, admitted: Admitted, client: Client) -> bool:
        """Whether what was let in may go on, by the rules as they are now; the authorizer is not asked again."""
        rules = self._runtime.rules.current
        route = rules.edge.named(admitted.permit.rule) if rules is not None else None
        if rules is None or route is None:
            return False
        access, verified = rules.edge.access(route), admitted.verified
        is_who_it_was = credentials.holds(verified, access, self._runtime.wall()) if verified is not None else not access.unusable
        is_asked = verified is not None or access.is_optional or not credentials.has_ways(access)
        claims = verified.claims if verified is not None else None
        judged = authorize_client(Found(route, admitted.permit.match or Match(), route), admitted.request, client.address, claims)
        return is_who_it_was and is_asked and isinstance(judged, Permit)

    # -- 2

    def _verify(
        self, route: EdgeRoute, access: Access, issuers: Issuers, request: RequestHead, client: Client
    ) -> Verified | Denied | Awaitable[Verified | Denied] | None:
        try:
            one = credentials.brought(access, request.headers, client.certificate)
            if one is None and not access.is_optional:
                return _not_authenticated(route, access)
            if one is None:
                return None
            if one.way == "basic" and access.basic is not None:
                return self._verify_password(route, access, access.basic, one, client)
            verified = self._verify_now(access, issuers, request, one, client)
        except ValueError as exc:
            return _not_authenticated(route, access, str(exc))
        return verified or _not_authenticated(route, access, f"{credentials.WORDS[one.way]} was brought that nobody was given")

    def _verify_now(self, access: Access, issuers: Issuers, request: RequestHead, one: Brought, client: Client) -> Verified | None:
        """Raises: ValueError with what is wrong with a token."""
        if one.way == "apiKey" and access.api_keys is not None:
            return credentials.verify_key(access.api_keys, one.value)
        if one.way == "certificate" and client.certificate is not None:
            verified = credentials.of_certificate(client.certificate)
            return verified if self._runtime.wall() < verified.ends else None
        why = ""
        for jwt in credentials.tokens_in(access, one.field):
            try:
                return credentials.of_token(self._tokens.claims(request, jwt, issuers, self._runtime.wall()), jwt)
            except ValueError as exc:
                why = f"the token: {exc}"
        raise ValueError(why)

    def _verify_password(
        self, route: EdgeRoute, access: Access, basic: Basic, one: Brought, client: Client
    ) -> Verified | Denied | Awaitable[Verified | Denied]:
        name, password = credentials.read_basic(one.value)
        wrong = _not_authenticated(route, access, "user or password is wrong")
        if not basic.users:
            return wrong
        user, asker = credentials.user_named(basic, name), client_network(client.address)
        if user is not None and self._passwords.is_remembered(name, password, user.hash):
            return credentials.of_user(user)
        if wait_s := self._wrong.wait_s(asker, trio.current_time()):
            return Denied(Reason.RATE_LIMITED, route.name, f"too many wrong passwords came from here; try again in {wait_s:.0f} s")
        stored = (user or credentials.stand_in(basic, name)).hash
        return self._compare(name, password, stored, asker, user, wrong)

    async def _compare(
        self, name: str, password: bytes, stored: str, asker: str, user: BasicUser | None, wrong: Denied
    ) -> Verified | Denied:
        try:
            is_right = await self._passwords.is_right(name, password, stored, asker, is_known=user is not None)
        except Busy as exc:
            reason = Reason.RATE_LIMITED if exc.is_asker else Reason.TOO_MANY_REQUESTS
            return Denied(reason, wrong.rule, "more passwords wait to be verified than may")
        if user is not None and is_right:
            return credentials.of_user(user)
        self._wrong.take(asker, trio.current_time())
        return wrong


def _not_authenticated(route: EdgeRoute, access: Access, why: str = "") -> Denied:
    return Denied(Reason.NOT_AUTHENTICATED, route.name, why, credentials.challenges(access, why if why.startswith("the token") else ""))


def _let_in(admitted: Admitted, taken: Set[bytes], told: Headers) -> Admitted:                                     # 5
    if taken or told:   # in the list itself: what is sent on, copied and matched is one
        headers = admitted.request.headers
        headers[:] = _without(headers, taken) + told
    return admitted


def _without(headers: Headers, fields: Set[bytes]) -> Headers:
    return [field for field in headers if field[0].lower() not in fields] if fields else headers
