"""Header blocks: expanded by the library hpack, within limits, and what they say remembered; compressed by our own encoder.

Most blocks repeat: on a busy connection they are references into a table that no longer changes. What such a block says is
remembered until the table changes, together with the judgement on it. Some servers (nginx) refer to nothing and add the same fields
again with each answer: what such a block says does not depend on the table, and is remembered once it came twice running, with what it
adds (60 us of 150 for each exchange).

Trust: what comes in is a stranger's block, which may expand enormously or churn the table; what leaves `HeaderDecoder` is at most
MAX_LIST_BYTES of fields, not judged yet. Attacked by tests/protocol/http2/test_header_block.py.
Spec: RFC 7541; RFC 9113 s4.3, s6.5.2.
"""

import re
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import hpack
import hpack.table
from hpack.hpack import encode_integer

from sidecar.model.message import Headers

from .frames import Code, Http2Error

TABLE_BYTES = 4096
ENTRY_BYTES = 32                # of an entry, beside its name and value (RFC 7541 s4.1, RFC 9113 s6.5.2)
ADVISED_LIST_BYTES = 65536      # what our SETTINGS ask for; more is refused with 431 ...
MAX_LIST_BYTES = 4 * 65536      # ... and beyond this the block is not expanded to its end, so that the connection is lost
REMEMBERED_BLOCK_BYTES = 1024   # longer ones are not remembered ...
REMEMBERED_LIST_BYTES = 65536   # ... nor more lists than this, as s6.5.2 counts them: a few bytes of a hostile peer may mean 64 KB

# > This update MUST occur at the beginning of the first header block following the change (RFC 7541 s4.2), and two say all.
_TABLE_CHURN = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*+[\x00-\x7f]){3}")

# Never indexed: secrets, whose guesses could be tried by their compressed size (RFC 7541 s7.1), and what hardly ever repeats,
# which would push out of the table what does.
_SECRET = {b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"}
_VOLATILE = {
    b":path", b"content-length", b"x-request-id", b"traceparent", b"tracestate", b"grpc-timeout", b"etag", b"last-modified", b"age",
    b"if-none-match", b"if-modified-since", b"location", b"content-range", b"range", b"x-forwarded-for",
}
# How each of them begins: never indexed, its name as the static table has it, without the value.
_LITERAL = {name: hpack.Encoder().add((name, b"x"), True)[:-2] for name in _SECRET | _VOLATILE}

T = TypeVar("T")


class _Memory(dict[Any, Any]):
    """What is remembered. Where there is too much of it, all is forgotten."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def keep(self, key: object, value: object, fields: Headers) -> None:
        size = sum([len(name) + len(text) + ENTRY_BYTES for name, text in fields])
        if self._bytes + size > REMEMBERED_LIST_BYTES:
            self.forget()
        if size <= REMEMBERED_LIST_BYTES:
            self[key] = value
            self._bytes += size

    def forget(self) -> None:
        self.clear()
        self._bytes = 0


class HeaderDecoder:
    __slots__ = ("_adding", "_decoder", "_remembered", "_seen", "_steady")

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(MAX_LIST_BYTES)
        self._remembered = _Memory()
        self._adding = _Memory()    # the judgement, and what the block adds
        self._seen = b""
        self._steady: object = None     # the key of the block that just added to the table what the table holds already

    def read(self, block: bytes, context: object, judge: Callable[[Headers], T]) -> T:
        """What `judge` makes of the fields of `block`.

        Args:
            context: what else the judgement depends on.
        Raises: Http2Error (COMPRESSION_ERROR, ENHANCE_YOUR_CALM), and what `judge` raises.
        """
        key = (block, context)
        found = self._remembered.get(key)
        if found is not None:
            return found    # type: ignore[no-any-return]
        table = self._decoder.header_table
        adding = self._adding.get(key)
        if adding is not None and table.maxsize == TABLE_BYTES:
            if key != self._steady:
                self._add(adding[1], key)
            return adding[0]    # type: ignore[no-any-return]
        fields, is_changed = self._expand(block)
        if is_changed:
            self._remembered.forget()
            self._steady = None
        result = judge(fields)
        if len(block) <= REMEMBERED_BLOCK_BYTES:
            if not is_changed:
                self._remembered.keep(key, result, fields)
            elif block != self._seen:
                self._seen = block
            elif (added := _added_by(block)) is not None:
                self._adding.keep(key, (result, added), fields)
        return result

    def _add(self, fields: Headers, key: object) -> None:
        """Once the same fields have filled the table again and again, to add them once more changes nothing (3 us less a response)."""
        table = self._decoder.header_table
        before = list(table.dynamic_entries)
        for name, value in fields:
            table.add(name, value)
        self._remembered.forget()
        self._steady = key if before == list(table.dynamic_entries) else None

    def _expand(self, block: bytes) -> tuple[Headers, bool]:
        """The fields, and whether the table is another one now."""
        if _TABLE_CHURN.match(block) is not None:
            raise Http2Error(Code.COMPRESSION_ERROR, "more than two table size updates in a header block")
        before = _state(self._decoder.header_table)
        try:
            fields: Any = self._decoder.decode(block, raw=True)
        except hpack.OversizedHeaderListError as exc:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, f"a header list of more than {MAX_LIST_BYTES} bytes") from exc
        except hpack.HPACKError as exc:
            raise Http2Error(Code.COMPRESSION_ERROR, f"the header block breaks RFC 7541 ({type(exc).__name__})") from exc
        return fields, not _is_same(before, _state(self._decoder.header_table))


def _added_by(block: bytes) -> Headers | None:
    """What `block` adds to a table of TABLE_BYTES; None if it refers to what stood there before, changes its limit or fills it."""
    if block[0] & 0xe0 == 0x20:
        return None
    alone = hpack.Decoder(TABLE_BYTES)
    try:
        alone.decode(block, raw=True)
    except hpack.HPACKError:
        return None
    return list(reversed(alone.header_table.dynamic_entries))


# Length, limit and newest entry of a table. What is added comes first, and is another tuple even where it equals what was there.
_State = tuple[int, int, tuple[bytes, bytes] | None]


def _state(table: Any) -> _State:
    entries = table.dynamic_entries
    return len(entries), table.maxsize, entries[0] if entries else None


def _is_same(one: _State, other: _State) -> bool:
    return one[0] == other[0] and one[1] == other[1] and one[2] is other[2]


class HeaderEncoder:
    """As the library's, which searches its table for each field (18 us for the 12 of a request, 3 here); held to what the library reads.

    A field that stands in a table is its number there. What was added last has the lowest, so that a field's own is kept as the count
    of those that were added up to it.
    """

    __slots__ = ("_added", "_at", "_bytes", "_entries", "_limit", "_lowest", "_names", "_size")

    def __init__(self) -> None:
        self._entries: deque[tuple[bytes, bytes]] = deque()     # the oldest first
        self._at: dict[tuple[bytes, bytes], int] = {}
        self._names: dict[bytes, int] = {}      # of the last field that has it
        self._added = 0
        self._bytes = 0
        self._limit = self._size = self._lowest = TABLE_BYTES

    def limit_table(self, sizes: list[int]) -> None:
        """The peer's decoder holds no more than these, one after the other; we never use more than TABLE_BYTES."""
        self._lowest = min(self._lowest, *sizes)
        self._size = min(TABLE_BYTES, sizes[-1])

    def encode(self, fields: Headers) -> bytes:
        """The block."""
        block = [] if self._lowest >= self._limit == self._size else self._resize()
        at, secret = self._at, hpack.NeverIndexedHeaderTuple
        for field in fields:
            if type(field) is secret:
                # Its sender calls it a secret: no hop is to let it be guessed at by the size of what else is sent (RFC 7541 s7.1.3).
                block.append((_LITERAL.get(field[0]) or b"\x10" + _string(field[0])) + _string(field[1]))
            elif (number := at.get(field)) is not None:
                block.append(_DYNAMIC[self._added - number])
            elif (static := _STATIC.get(field)) is not None:
                block.append(static)
            elif (prefix := _LITERAL.get(field[0])) is not None:
                block.append(prefix + _string(field[1]))
            else:
                block.append(self._add(field))
        return b"".join(block)

    def _resize(self) -> list[bytes]:
        """> [It] MUST signal the smallest maximum, and then the final one (RFC 7541 s4.2), before anything else."""
        updates = [self._size] if self._lowest in (self._limit, self._size) else [self._lowest, self._size]
        self._limit = self._lowest
        self._shrink()
        self._limit = self._lowest = self._size
        return [_integer(size, 5, 0x20) for size in updates]

    def _add(self, field: tuple[bytes, bytes]) -> bytes:
        """Spelled out, and to be referred to from then on."""
        name, value = field
        index = _STATIC_NAMES.get(name)
        if index is None and (number := self._names.get(name)) is not None:
            index = FIRST_DYNAMIC + self._added - number
        size = len(name) + len(value) + ENTRY_BYTES
        fits = size <= self._limit
        flag, bits = (0x40, 6) if fits else (0, 4)
        spelled = _integer(index, bits, flag) if index is not None else bytes((flag,)) + _string(name)
        if fits:
            self._entries.append(field)
            self._bytes += size
            self._added += 1
            self._at[field] = self._names[name] = self._added
            self._shrink()
        return spelled + _string(value)

    def _shrink(self) -> None:
        while self._bytes > self._limit:
            name, value = field = self._entries.popleft()
            self._bytes -= len(name) + len(value) + ENTRY_BYTES
            number = self._at.pop(field)
            if self._names[name] == number:
                del self._names[name]


def _integer(value: int, bits: int, flag: int) -> bytes:
    encoded = encode_integer(value, bits)
    encoded[0] |= flag
    return bytes(encoded)


def _string(value: bytes) -> bytes:
    """A value without Huffman coding, which costs more time than its bytes are worth (RFC 7541 s5.2)."""
    size = len(value)
    return (_SIZE[size] if size < 127 else _integer(size, 7, 0)) + value


FIRST_DYNAMIC = hpack.table.HeaderTable.STATIC_TABLE_LENGTH + 1
_SIZE = [bytes((size,)) for size in range(127)]
_DYNAMIC = [_integer(FIRST_DYNAMIC + number, 7, 0x80) for number in range(TABLE_BYTES // ENTRY_BYTES)]
_STATIC = {field: _integer(number, 7, 0x80) for number, field in reversed([*enumerate(hpack.table.HeaderTable.STATIC_TABLE, 1)])}
_STATIC_NAMES = {name: number for number, (name, _) in reversed([*enumerate(hpack.table.HeaderTable.STATIC_TABLE, 1)])}
