import fcntl
import json
import os
from itertools import pairwise
from select import PIPE_BUF

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.reason import Reason
from sidecar.telemetry.access_log import AccessLog, Record, stdout_log

F_SETPIPE_SZ = 1031


def test_a_record_says_what_happened_and_leaves_out_what_did_not() -> None:
    lines: list[bytes] = []
    record = Record(1.5, "inbound", path="/a", status=403)
    record.refuse(Reason.NO_ROUTE, "why")
    log = AccessLog(lines.append)
    log.add(record)
    record.detail = "what is told is told"
    log.flush()
    assert json.loads(lines[0]) == {
        "time": 1.5, "direction": "inbound", "path": "/a", "status": 403, "code": "BZ0101", "reason": "no-route", "detail": "why",
    }


@given(st.text(), st.text())
def test_one_record_is_one_line(path: str, detail: str) -> None:
    """Whatever a peer chose: one line, and it reads back as it was."""
    lines: list[bytes] = []
    log = AccessLog(lines.append)
    log.add(Record(0, "inbound", path=path, detail=detail))
    log.flush()
    log.flush()
    assert len(lines) == 1
    assert lines[0].count(b"\n") == 1
    assert lines[0].endswith(b"}\n")
    found = json.loads(lines[0])
    assert (found.get("path", ""), found.get("detail", "")) == (path, detail)


@pytest.mark.parametrize("user", ["\ud800", "a\udcff", "x" * 9000 + "\udfff"])
def test_words_that_are_no_utf8_cost_no_line(user: str) -> None:
    """A claim may be half a surrogate pair. Its line has a mark instead, and nothing else besides; the next is whole."""
    lines: list[bytes] = []
    log = AccessLog(lines.append)
    log.add(Record(1, "edge", user="before"))
    log.add(Record(2, "edge", user=user, detail="d"))
    log.add(Record(3, "edge", user="after"))
    log.flush()
    told = [json.loads(line) for line in b"".join(lines).splitlines()]
    assert [one["user"] for one in told] == ["before", user[:-1] + "?", "after"]
    assert told[1] == {"time": 2, "direction": "edge", "user": user[:-1] + "?", "detail": "d"}


def test_off() -> None:
    log = AccessLog(None)
    log.add(Record(0, "inbound"))
    log.flush()
    assert log.dropped == 0


@pytest.mark.parametrize("error", [BlockingIOError(), BrokenPipeError(), OSError(28, "No space left on device")])
def test_a_reader_that_fails_costs_counted_lines_only(error: OSError) -> None:
    def write(line: bytes) -> None:
        raise error

    log = AccessLog(write)
    for count in (2, 1):
        for _ in range(count):
            log.add(Record(0, "inbound"))
        log.flush()
    assert log.dropped == 3


def test_what_is_told_in_one_turn_is_one_write() -> None:
    written: list[bytes] = []
    log = AccessLog(written.append)
    for number in range(3):
        log.add(Record(number, "inbound"))
    assert written == []
    log.flush()
    log.add(Record(3, "inbound"))
    log.flush()
    assert [[json.loads(line)["time"] for line in lines.splitlines()] for lines in written] == [[0, 1, 2], [3]]


@given(st.lists(st.integers(0, 9000), max_size=20))
def test_what_is_written_at_once_stays_whole_among_the_lines_of_other_workers(sizes: list[int]) -> None:
    """All lines in order, in writes of whole lines that a pipe takes in one piece, or of one line that is longer."""
    written: list[bytes] = []
    log = AccessLog(written.append)
    for number, size in enumerate(sizes):
        log.add(Record(number, "inbound", path="a" * size))
    log.flush()
    assert [json.loads(line)["time"] for line in b"".join(written).splitlines()] == list(range(len(sizes)))
    assert all(lines.endswith(b"\n") and (len(lines) <= PIPE_BUF or lines.count(b"\n") == 1) for lines in written)
    assert all(len(one) + len(other) > PIPE_BUF for one, other in pairwise(written))


def test_a_full_pipe_gets_whole_lines() -> None:
    """A line may be longer than the pipe has room for: what comes out are whole lines all the same, the others are counted."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 8192)
    log = stdout_log(writer)
    got = b""
    with open(reader, "rb", buffering=0) as pipe, open(writer, "wb"):
        for number in range(40):
            log.add(Record(number, "inbound", path="/" + "a" * 5000))
            if number % 2:
                log.flush()
            if number % 3 == 2:
                got += pipe.read(5000)
        os.set_blocking(reader, False)
        while data := pipe.read(65536):
            got += data
        log.add(Record(40, "inbound"))
        log.flush()
        got += pipe.read(65536)
    *lines, rest = got.split(b"\n")
    numbers = [json.loads(line)["time"] for line in lines]
    assert rest == b""
    assert numbers == sorted(numbers)
    assert numbers[-1] == 40
    assert len(numbers) + log.dropped == 41
    assert log.dropped > 0
