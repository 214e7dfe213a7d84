"""The resolver against a real name server on loopback."""

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.errors import NotResolved
from sidecar.net import resolve
from sidecar.net.resolve import MOST_ADDRESSES, Resolver
from tests.helpers.dns_server import DnsServer, Script, records, serving

NAME = "api.example.com"
FOUR, SIX = f"{NAME} 60 A 192.0.2.1", f"{NAME} 60 AAAA 2001:db8::1"
BOTH = [f"A {NAME}", f"AAAA {NAME}"]


async def ask(script: Script, name: str = NAME, tcp_script: Script | None = None) -> tuple[tuple[str, ...], DnsServer]:
    async with serving(script, tcp_script) as server:
        try:
            return await Resolver().resolve(name, [server.address]), server
        except NotResolved as exc:
            failure = exc
    raise failure


def altered(change: str, value: object) -> Script:
    """First a forged answer to the query, then the true one."""

    def script(query: dns.message.Message) -> list[bytes]:
        (true,) = records(FOUR)(query)
        forged = dns.message.from_wire(records(f"{NAME} 60 A 198.51.100.66")(query)[0])
        if change == "id":
            forged.id ^= 1
        elif change == "question":
            forged = dns.message.make_response(dns.message.make_query("evil.example", query.question[0].rdtype))
            forged.id = query.id
        elif change == "no answer":
            forged.flags &= ~dns.flags.QR
        return [value if isinstance(value, bytes) else forged.to_wire(), true]

    return script


async def test_both_families() -> None:
    addresses, server = await ask(records(FOUR, f"{NAME} 60 A 192.0.2.2", SIX))
    assert addresses == ("192.0.2.1", "192.0.2.2", "2001:db8::1")
    assert sorted(server.asked) == BOTH


@pytest.mark.parametrize(("name", "expected"), [
    ("192.0.2.7", "192.0.2.7"), ("[2001:db8::7]", "2001:db8::7"), ("2001:DB8::7", "2001:db8::7"), ("::ffff:192.0.2.7", "192.0.2.7"),
])
async def test_an_address_is_asked_of_nobody(name: str, expected: str) -> None:
    addresses, server = await ask(records(FOUR), name)
    assert (addresses, server.asked) == ((expected,), [])


async def test_aliases_are_followed_within_the_answer() -> None:
    addresses, _ = await ask(records(f"{NAME} 60 CNAME cdn.example.net", "cdn.example.net 60 A 192.0.2.3"))
    assert addresses == ("192.0.2.3",)


async def test_records_of_other_names_count_for_nothing() -> None:
    addresses, _ = await ask(records("evil.example 60 A 198.51.100.66"))
    assert addresses == ()


async def test_an_answer_without_end_is_remembered_in_part() -> None:
    many = [f"{NAME} 60 A 198.51.{i // 250}.{i % 250}" for i in range(200)]
    addresses, _ = await ask(records(*many))
    assert len(addresses) == MOST_ADDRESSES


async def test_an_alias_that_bites_its_tail() -> None:
    with pytest.raises(NotResolved):
        await ask(records(f"{NAME} 60 CNAME a.example", f"a.example 60 CNAME {NAME}"))


async def test_a_mapped_address_is_the_plain_one() -> None:
    addresses, _ = await ask(records(f"{NAME} 60 AAAA ::ffff:127.0.0.1"))
    assert addresses == ("127.0.0.1",)


@pytest.mark.parametrize("code", ["NOERROR", "NXDOMAIN"])
async def test_no_address(code: str) -> None:
    addresses, _ = await ask(records(code=code))
    assert addresses == ()


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"])
async def test_a_resolver_that_fails(code: str) -> None:
    with pytest.raises(NotResolved, match=code):
        await ask(records(code=code))


@pytest.mark.parametrize(("change", "value"), [
    ("id", None), ("question", None), ("no answer", None), ("garbage", b"\x00" * 5), ("garbage", b"\xff" * 40), ("garbage", b""),
])
async def test_what_is_no_answer_is_ignored(change: str, value: object) -> None:
    addresses, server = await ask(altered(change, value))
    assert addresses == ("192.0.2.1",)
    assert sorted(server.asked) == BOTH


async def test_an_answer_from_elsewhere_is_ignored() -> None:
    """Right ID, right question, wrong sender: the socket hears only whom it asked."""
    query = dns.message.make_query(NAME, "A")
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as asked, trio.socket.socket(type=trio.socket.SOCK_DGRAM) as attacker:
        await asked.bind(("127.0.0.1", 0))
        await attacker.bind(("127.0.0.1", 0))

        async def both_answer() -> None:
            _, peer = await asked.recvfrom(4096)
            await attacker.sendto(records(f"{NAME} 60 A 198.51.100.66")(query)[0], peer)
            await asked.sendto(records(FOUR)(query)[0], peer)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(both_answer)
            reply = await Resolver().exchange(query, Address("127.0.0.1", asked.getsockname()[1]))
    assert [str(item) for rrset in reply.answer for item in rrset] == ["192.0.2.1"]


async def test_who_guesses_has_no_more_than_a_few_tries() -> None:
    def guessing(query: dns.message.Message) -> list[bytes]:
        forged = dns.message.from_wire(records(f"{NAME} 60 A 198.51.100.66")(query)[0])
        rest = forged.to_wire()[2:]
        return [(query.id ^ number).to_bytes(2, "big") + rest for number in range(resolve.MOST_WRONG, -1, -1)]

    addresses, server = await ask(guessing, tcp_script=records(FOUR))
    assert addresses == ("192.0.2.1",)
    assert sorted(server.asked) == [*BOTH, f"tcp A {NAME}", f"tcp AAAA {NAME}"]


async def test_a_truncated_answer_is_asked_for_over_tcp() -> None:
    many = [f"{NAME} 60 A 192.0.2.{i}" for i in range(100)]
    addresses, server = await ask(records(FOUR, truncated=True), tcp_script=records(*many))
    assert addresses == tuple(f"192.0.2.{i}" for i in range(100))
    assert sorted(server.asked) == [*BOTH, f"tcp A {NAME}", f"tcp AAAA {NAME}"]


@pytest.mark.parametrize("tcp_script", [
    lambda query: [],
    lambda query: [b"\x00" * 40],
    altered("id", None),
    altered("question", None),
])
async def test_nonsense_over_tcp_is_no_answer(tcp_script: Script) -> None:
    with pytest.raises(NotResolved):
        await ask(records(FOUR, truncated=True), tcp_script=tcp_script)


async def test_the_next_resolver_is_asked_where_one_refuses() -> None:
    async with serving(records(code="REFUSED")) as bad, serving(records(FOUR)) as good:
        assert await Resolver().resolve(NAME, [bad.address, good.address]) == ("192.0.2.1",)
        assert sorted(bad.asked) == sorted(good.asked) == BOTH


async def test_nobody_there() -> None:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{sock.getsockname()[1]}"
    with pytest.raises(NotResolved, match="refused"):
        await Resolver().resolve(NAME, [address])


async def test_nobody_to_ask() -> None:
    with pytest.raises(NotResolved, match="names no resolver"):
        await Resolver().resolve(NAME, [])


@pytest.mark.parametrize("name", ["a" * 64 + ".example.com", "a..b", "a." * 130 + "com"])
async def test_a_name_that_cannot_be_asked_for(name: str) -> None:
    with pytest.raises(NotResolved):
        await ask(records(FOUR), name)


# -- what is remembered


async def asked_again(script: Script, after_s: float, clock: MockClock, again: Script | None = None) -> tuple[list[str], tuple[str, ...]]:
    """What goes out for the second of two questions, `after_s` seconds after the first; and its answer."""
    async with serving(script) as server:
        resolver = Resolver()
        await resolver.resolve(NAME, [server.address])
        server.asked.clear()
        server.script = again or script
        clock.jump(after_s)
        answer = await resolver.resolve(NAME, [server.address])
        return sorted(server.asked), answer


def negative(minimum: int, soa_ttl: int = 3600, code: str = "NXDOMAIN") -> Script:
    def script(query: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.from_text(code))
        soa = f"ns.example.com. root.example.com. 1 7200 900 1209600 {minimum}"
        reply.authority.append(dns.rrset.from_text("example.com.", soa_ttl, "IN", "SOA", soa))
        return [reply.to_wire()]

    return script


@pytest.mark.parametrize(("script", "until_s", "asked"), [
    (records(f"{NAME} 60 A 192.0.2.1", f"{NAME} 60 AAAA 2001:db8::1"), 60, BOTH),
    (records(f"{NAME} 60 A 192.0.2.1", f"{NAME} 20 AAAA 2001:db8::1"), 20, BOTH[1:]),
    (records(f"{NAME} 10 CNAME a.example", "a.example 60 A 192.0.2.1", "a.example 60 AAAA 2001:db8::1"), 10, BOTH),
    (records(f"{NAME} 0 A 192.0.2.1", f"{NAME} 0 AAAA 2001:db8::1"), resolve.TTL_FLOOR_S, BOTH),
    (records(f"{NAME} 99999 A 192.0.2.1", f"{NAME} 99999 AAAA 2001:db8::1"), resolve.TTL_CEILING_S, BOTH),
    (records(code="NXDOMAIN"), resolve.NEGATIVE_S, BOTH),
    (negative(900), resolve.NEGATIVE_S, BOTH), (negative(3), 3, BOTH), (negative(900, soa_ttl=3), 3, BOTH),
    (negative(3, code="NOERROR"), 3, BOTH), (negative(0), resolve.NEGATIVE_FLOOR_S, BOTH),
])
async def test_how_long(script: Script, until_s: float, asked: list[str], mock_clock: MockClock) -> None:
    assert (await asked_again(script, until_s - 0.1, mock_clock))[0] == []
    assert (await asked_again(script, until_s + 0.1, mock_clock))[0] == asked


async def test_half_an_answer_is_remembered_briefly(mock_clock: MockClock) -> None:
    """One family failed: it is asked for again soon, not when the other's time is over, and not for every request."""
    def half(query: dns.message.Message) -> list[bytes]:
        return records(f"{NAME} 300 AAAA 2001:db8::1", code="SERVFAIL" if query.question[0].rdtype.name == "A" else "NOERROR")(query)

    assert await asked_again(half, resolve.NEGATIVE_S - 0.1, mock_clock) == ([], ("2001:db8::1",))
    asked, answer = await asked_again(half, resolve.NEGATIVE_S + 0.1, mock_clock, records(FOUR, SIX))
    assert asked == BOTH[:1]
    assert answer == ("192.0.2.1", "2001:db8::1")


async def test_half_a_failure_is_no_proof_that_there_is_no_address() -> None:
    with pytest.raises(NotResolved, match="SERVFAIL"):
        await ask(lambda query: records(code="SERVFAIL" if query.question[0].rdtype.name == "A" else "NOERROR")(query))


async def test_a_failure_is_remembered_briefly(mock_clock: MockClock) -> None:
    async with serving(records(code="SERVFAIL")) as server:
        resolver = Resolver()
        for again in (False, True):
            with pytest.raises(NotResolved, match="SERVFAIL"):
                await resolver.resolve(NAME, [server.address])
            assert (server.asked == []) is again
            server.asked.clear()
        mock_clock.jump(resolve.NEGATIVE_S)
        server.script = records(FOUR)
        assert await resolver.resolve(NAME, [server.address]) == ("192.0.2.1",)


async def test_other_resolvers_other_answers() -> None:
    async with serving(records(FOUR)) as one, serving(records(f"{NAME} 60 A 192.0.2.9")) as other:
        resolver = Resolver()
        assert await resolver.resolve(NAME, [one.address]) == ("192.0.2.1",)
        assert await resolver.resolve(NAME, [other.address]) == ("192.0.2.9",)


class Nobody(Resolver):
    """There is no name at all; more than a thousand questions need no sockets for that."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def exchange(self, query: dns.message.Message, server: Address) -> dns.message.Message:
        self.asked.append(f"{query.question[0].rdtype.name} {query.question[0].name.to_text(omit_final_dot=True)}")
        await trio.lowlevel.checkpoint()
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply


async def test_the_memory_is_bounded(mock_clock: MockClock) -> None:
    """The clock stands but for once."""
    resolver = Nobody()

    async def ask_for(*numbers: int) -> None:
        for number in numbers:
            await resolver.resolve(f"n{number}.example", ["10.96.0.10"])

    await ask_for(0, 1)
    mock_clock.jump(resolve.NEGATIVE_S)
    await ask_for(0)        # which makes it new
    await ask_for(*range(2, resolve.MAX_ANSWERS // 2 + 1))
    resolver.asked.clear()
    await ask_for(0, resolve.MAX_ANSWERS // 2)
    assert resolver.asked == []
    await ask_for(1)
    assert sorted(resolver.asked) == ["A n1.example", "AAAA n1.example"]


async def test_who_does_not_answer_gives_way_to_the_next(mock_clock: MockClock) -> None:
    async with serving(lambda query: []) as silent, serving(records(FOUR)) as other, trio.open_nursery() as nursery:

        async def ask_both() -> None:
            assert await Resolver().resolve(NAME, [silent.address, other.address]) == ("192.0.2.1",)
            assert trio.current_time() == started + resolve.ATTEMPT_S
            with pytest.raises(NotResolved, match="did not answer"):
                await Resolver().resolve(NAME, [silent.address])
            assert trio.current_time() == started + (1 + resolve.ATTEMPTS) * resolve.ATTEMPT_S

        started = trio.current_time()
        nursery.start_soon(ask_both)
        for _ in range(1 + resolve.ATTEMPTS):
            await wait_all_tasks_blocked()
            mock_clock.jump(resolve.ATTEMPT_S)
    assert len(silent.asked) == 2 * (1 + resolve.ATTEMPTS)


# -- while the resolvers fail


@pytest.mark.parametrize("failing", [records(code="SERVFAIL"), records(code="REFUSED")])
async def test_while_they_fail_the_last_answer_goes_on_for_a_while(failing: Script, mock_clock: MockClock) -> None:
    async with serving(records(FOUR, SIX)) as server:
        resolver = Resolver()
        found = await resolver.resolve(NAME, [server.address])
        server.script = failing
        mock_clock.jump(61)
        for _ in range(2):
            assert await resolver.resolve(NAME, [server.address]) == found
        assert resolver.stale == 4      # two of each family
        assert sorted(server.asked) == sorted(BOTH * (1 + resolve.ATTEMPTS)), "not again for every request"
        server.asked.clear()
        mock_clock.jump(resolve.RECHECK_S)
        await resolver.resolve(NAME, [server.address])
        assert server.asked
        mock_clock.jump(resolve.STALE_S)
        with pytest.raises(NotResolved):
            await resolver.resolve(NAME, [server.address])


async def test_that_there_is_no_such_name_is_an_answer(mock_clock: MockClock) -> None:
    asked, answer = await asked_again(records(FOUR, SIX), 61, mock_clock, records(code="NXDOMAIN"))
    assert (asked, answer) == (BOTH, ())


async def test_they_are_waited_for_but_not_for_long(mock_clock: MockClock) -> None:
    async with serving(records(FOUR, SIX)) as server, trio.open_nursery() as nursery:
        resolver = Resolver()
        servers = [server.address] * 4
        await resolver.resolve(NAME, servers)
        server.script = lambda query: []
        mock_clock.jump(61)
        started = trio.current_time()

        async def ask_again() -> None:
            assert await resolver.resolve(NAME, servers) == ("192.0.2.1", "2001:db8::1")
            assert trio.current_time() == started + resolve.ASK_S

        nursery.start_soon(ask_again)
        for step in (resolve.ATTEMPT_S, resolve.ATTEMPT_S, resolve.ASK_S - 2 * resolve.ATTEMPT_S):
            await wait_all_tasks_blocked()
            mock_clock.jump(step)


async def test_who_answered_last_is_asked_first(mock_clock: MockClock) -> None:
    async with serving(lambda query: []) as dead, serving(records(FOUR, SIX)) as good:
        resolver, servers = Resolver(), [dead.address, good.address]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(resolver.resolve, NAME, servers)
            await wait_all_tasks_blocked()
            mock_clock.jump(resolve.ATTEMPT_S)
        dead.asked.clear()
        assert await resolver.resolve("other.example.com", servers) == ()
        assert dead.asked == []
        good.script, dead.script = records(code="SERVFAIL"), records("b.example 60 A 192.0.2.2")
        assert await resolver.resolve("b.example", servers) == ("192.0.2.2",), "though it is the other's turn again"


# -- many ask


class Counted(Resolver):
    """Answers each query after a second, with one address more than the last."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = 0

    async def exchange(self, query: dns.message.Message, server: Address) -> dns.message.Message:
        self.queries += 1
        number = self.queries
        await trio.sleep(1)
        return dns.message.from_wire(records(f"{NAME} 60 A 192.0.2.{number}")(query)[0])


async def test_who_asks_at_once_shares_one_query(autojump_clock: MockClock) -> None:
    resolver, answers = Counted(), []

    async def ask_for_it() -> None:
        answers.append((await resolver.lookup(NAME, "A", ["10.96.0.10"])).addresses)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask_for_it)
    assert answers == [("192.0.2.1",)] * 50
    assert (resolver.queries, trio.current_time()) == (1, 1)


async def test_who_goes_away_takes_nobodys_answer_along(autojump_clock: MockClock) -> None:
    resolver, answers = Counted(), []

    async def ask_for_it() -> None:
        answers.append((await resolver.lookup(NAME, "A", ["10.96.0.10"])).addresses)

    async def impatient() -> None:
        with trio.move_on_after(0.5):
            await ask_for_it()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(impatient)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask_for_it)
        nursery.start_soon(ask_for_it)
    assert answers == [("192.0.2.2",)] * 2
    assert trio.current_time() == 1.5
