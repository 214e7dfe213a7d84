import re

from injector.findings import Finding
from sidecar.model.reason import BY_CODE


def test_codes_are_our_own_and_say_what_to_do() -> None:
    codes = [finding.code for finding in Finding]
    assert len(set(codes)) == len(codes)
    assert not set(codes) & set(BY_CODE)
    for finding in Finding:
        assert re.fullmatch(r"BZ07[0-9]{2}", finding.code)
        assert finding.cause.endswith(".")
        assert finding.cure.endswith(".")
