import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocol.authority import is_host_name, parse_authority

LABEL = b"a" * 63


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (b"a", b"a", None),
        (b"A.Example.COM.:443", b"a.example.com", 443),
        (b"xn--bcher-kva.example", b"xn--bcher-kva.example", None),
        (b"1password.com", b"1password.com", None),
        (b"7.example", b"7.example", None),
        (b"10.0.0.1:65535", b"10.0.0.1", 65535),
        (b"[::1]", b"[::1]", None),
        (b"[2001:DB8:0:0::1]:1", b"[2001:db8::1]", 1),
        (b"[::ffff:a00:1]", b"10.0.0.1", None),
        (b".".join([LABEL] * 3) + b".b", b".".join([LABEL] * 3) + b".b", None),
    ],
)
def test_parse(text: bytes, host: bytes, port: int | None) -> None:
    assert parse_authority(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        b"", b".", b"a..b", b"-a", b"a-", b"a_b", b"a b", b"a@b", b"a/b", b"a%41", b"a,b", b"a:", b"a:0",
        b"a:080", b"a:65536", b"a:1:2", b"a\n",
        b"a..", b"*.a", b"\xc3\xa9", LABEL + b"a", b".".join([LABEL] * 4),
        b"127.1", b"2130706433", b"0x7f000001", b"0x7f.0.0.1", b"0177.0.0.1", b"1.2.3.4.5", b"256.0.0.1", b"a.1", b"a.0x1",
        b"::1", b"[::1", b"[]", b"[1.2.3.4]", b"[fe80::1%eth0]", b"[fe80::1%25eth0]", b"[::1].", b"[v1.a]", b"[:::]",
    ],
)
def test_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_authority(text)


@pytest.mark.parametrize(
    ("name", "is_one"), [(b"a.b", True), (b"A.b", False), (b"a.b.", False), (b"1.2.3.4", False), (b"a:1", False)]
)
def test_host_name(name: bytes, is_one: bool) -> None:
    assert is_host_name(name) is is_one


@given(st.binary(max_size=20) | st.text("aA1-._:[]0xf%@", max_size=24).map(str.encode))
def test_any_bytes_one_spelling_or_value_error(text: bytes) -> None:
    try:
        host, port = parse_authority(text)
    except ValueError:
        return
    assert parse_authority(host) == (host, None)
    assert port is None or parse_authority(b"%b:%d" % (host, port)) == (host, port)
