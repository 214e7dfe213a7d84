import pytest

from injector.demo.checks.rules import testable as asked_rules
from sidecar import intercept
from sidecar.intercept import Exemption, Family, Uids, rules
from sidecar.model.passage import Passage


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("exemption", "uids", "left_out"), [
    (Exemption("uid", 50001), (Uids(0, 4294967294),), 3),
    (Exemption("uid", 50001), (Uids(0, 0), Uids(1, 65536)), 4),
    (Exemption("mark", 1337), (Uids(0, 0),), 3),
])
def test_all_but_what_a_sidecar_cannot_do_is_asked(
    family: Family, exemption: Exemption, uids: tuple[Uids, ...], left_out: int
) -> None:
    every = rules(family, exemption, uids)
    asked = asked_rules(every)
    assert len(asked) == len(every) - left_out
    assert sum(intercept.SENDING_GUARD in line.spec for line in asked) == 1
    for why in (intercept.KERNEL_UDP_GUARD, intercept.DNS_UNTRACKED, intercept.ANSWERS_UNTRACKED):
        assert not any(why in line.spec for line in asked)


def test_what_lets_pass_is_missed_by_nobody() -> None:
    passage = Passage.of(["--exclude-inbound", "9100", "--exclude-outbound-port", "5432", "--allow-udp", "10.0.0.0/8:123"])
    exempt, uids = Exemption("uid", 50001), (Uids(0, 4294967294),)
    assert asked_rules(rules(4, exempt, uids, passage)) == asked_rules(rules(4, exempt, uids))


def test_the_comment_as_iptables_save_quotes_it() -> None:
    line = intercept.Line("filter", "OUTPUT", "-p udp -m comment --comment \"bartizan: UDP of the kernel\\'s own sockets "
                                              "(AF_RXRPC) has no owner\" -j REJECT")
    assert asked_rules((line,)) == []
