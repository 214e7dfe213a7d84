"""Passwords: what is right is remembered without being kept, what is wrong costs its sender, and never the loop."""

import subprocess
import sys

import bcrypt
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sidecar.net.passwords import MOST_WAITING, MOST_WAITING_OF_ONE, REMEMBERED_S, Busy, Passwords

COST = 4
HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(COST)).decode()


async def test_right_and_wrong() -> None:
    known = Passwords()
    with trio.fail_after(20):
        assert await known.is_right("ann", b"secret", HASH, "a")
        assert not await known.is_right("ann", b"secreT", HASH, "a")
        assert not await known.is_right("ann", b"secret", HASH, "a", is_known=False)
        assert await known.is_right("ann", b"secret", "$2y$" + HASH[4:], "a")      # as htpasswd writes it


@pytest.mark.parametrize("long", [b"x" * 73, b"x" * 72 + b"\0", b"sec\0ret", b"\0" * 100])
async def test_a_password_counts_whole_or_not_at_all(long: bytes) -> None:
    with trio.fail_after(20):
        stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(COST)).decode()
        assert await Passwords().is_right("ann", b"x" * 72, stored, "a")
        assert not await Passwords().is_right("ann", long, stored, "a")


async def test_what_is_right_is_remembered_for_a_while_and_for_that_hash_alone(autojump_clock: trio.testing.MockClock) -> None:
    known = Passwords()
    assert not known.is_remembered("ann", b"secret", HASH)
    assert await known.is_right("ann", b"secret", HASH, "a")
    assert not await known.is_right("ann", b"wrong", HASH, "a")
    assert known.is_remembered("ann", b"secret", HASH)
    assert not known.is_remembered("ann", b"wrong", HASH)
    assert not known.is_remembered("ann", b"secret", "another hash")
    assert not known.is_remembered("annsecret", b"", HASH)
    assert b"secret" not in repr(vars(known)).encode()
    await trio.sleep(REMEMBERED_S)
    assert not known.is_remembered("ann", b"secret", HASH)


async def test_one_check_serves_all_that_ask_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bytes] = []
    genuine = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda password, stored: (checked.append(password), genuine(password, stored))[1])
    known, answers = Passwords(), list[bool]()

    async def ask() -> None:
        answers.append(await known.is_right("ann", b"secret", HASH, "a"))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(ask)
    assert (answers, len(checked)) == ([True] * 6, 1)


async def test_one_asker_has_few_places_and_all_together_a_bounded_number() -> None:
    known, slow = Passwords(), bcrypt.hashpw(b"secret", bcrypt.gensalt(12)).decode()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for i in range(MOST_WAITING_OF_ONE):
                nursery.start_soon(known.is_right, "ann", b"wrong%d" % i, slow, "a")
            await wait_all_tasks_blocked()
            with pytest.raises(Busy) as own:
                await known.is_right("ann", b"secret", slow, "a")
            for i in range(MOST_WAITING - MOST_WAITING_OF_ONE):
                nursery.start_soon(known.is_right, "ann", b"wrong", slow, f"other {i}")
            await wait_all_tasks_blocked()
            with pytest.raises(Busy) as others:
                await known.is_right("ann", b"secret", slow, "b")
            nursery.cancel_scope.cancel()
        assert (own.value.is_asker, others.value.is_asker) == (True, False)
        assert await known.is_right("ann", b"secret", HASH, "a")       # all places were given back


async def test_who_gives_up_leaves_the_others_their_turn() -> None:
    known = Passwords()
    answers: list[bool] = []

    async def ask() -> None:
        answers.append(await known.is_right("ann", b"secret", HASH, "b"))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as gone:
                async with trio.open_nursery() as first:
                    first.start_soon(known.is_right, "ann", b"secret", HASH, "a")
                    await trio.lowlevel.checkpoint()
                    nursery.start_soon(ask)
                    await trio.lowlevel.checkpoint()
                    gone.cancel()
    assert answers == [True]


async def test_the_memory_is_bounded() -> None:
    known = Passwords(most=2)
    with trio.fail_after(20):
        for name in ("one", "two", "three"):
            assert await known.is_right(name, b"secret", HASH, "a")
    assert [known.is_remembered(name, b"secret", HASH) for name in ("one", "two", "three")] == [False, True, True]


def test_bcrypt_is_loaded_although_the_process_keeps_it_out() -> None:
    program = (
        "import sys; from sidecar.start import keep_out; keep_out(); import trio; from sidecar.net.passwords import Passwords\n"
        "assert sys.modules['bcrypt'] is None\n"
        f"assert trio.run(Passwords().is_right, 'ann', b'secret', {HASH!r}, 'a') is True"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
