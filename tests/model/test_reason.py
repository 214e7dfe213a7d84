import re

import pytest

from sidecar.model.reason import BY_CODE, Reason


def test_codes_and_tokens_are_unique() -> None:
    assert len({reason.code for reason in Reason}) == len({reason.token for reason in Reason}) == len(Reason) == len(BY_CODE)


@pytest.mark.parametrize("reason", Reason)
def test_each_says_what_a_person_needs(reason: Reason) -> None:
    assert re.fullmatch(r"BZ0[1-6][0-9]{2}", reason.code)
    assert re.fullmatch(r"[a-z]+[0-9]?(-[a-z]+)*", reason.token)
    assert reason.cause.endswith(".")
    assert reason.cure.endswith(".")
    assert BY_CODE[reason.code] is reason
