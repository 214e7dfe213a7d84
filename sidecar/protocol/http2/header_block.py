"""Header blocks: fields compressed and expanded by the library hpack, within limits, and remembered.

Most blocks repeat: on a busy connection they are references into a table that no longer changes. What such a block says is
remembered until the table changes, together with the judgement on it, and so is the block for a list of fields. Some servers (nginx)
refer to nothing and add the same fields again with each answer: what such a block says does not depend on the table, and is remembered
once it came twice running, with what it adds (60 us of 150 for each exchange).

Trust: what comes in is a stranger's block, which may expand enormously or churn the table; what leaves `HeaderDecoder` is at most
MAX_LIST_BYTES of fields, not judged yet. Attacked by tests/protocol/http2/test_header_block.py.
Spec: RFC 7541; RFC 9113 s4.3, s6.5.2.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import hpack
from hpack.hpack import encode_integer

from sidecar.model.message import Headers

from .frames import Code, Http2Error

TABLE_BYTES = 4096
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
        size = sum([len(name) + len(text) + 32 for name, text in fields])
        if self._bytes + size > REMEMBERED_LIST_BYTES:
            self.forget()
        if size <= REMEMBERED_LIST_BYTES:
            self[key] = value
            self._bytes += size

    def forget(self) -> None:
        self.clear()
        self._bytes = 0


class HeaderDecoder:
    __slots__ = ("_adding", "_decoder", "_remembered", "_seen")

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(MAX_LIST_BYTES)
        self._remembered = _Memory()
        self._adding = _Memory()    # the judgement, and what the block adds
        self._seen = b""

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
            self._remembered.forget()
            for name, value in adding[1]:
                table.add(name, value)
            return adding[0]    # type: ignore[no-any-return]
        fields, is_changed = self._expand(block)
        if is_changed:
            self._remembered.forget()
        result = judge(fields)
        if len(block) <= REMEMBERED_BLOCK_BYTES:
            if not is_changed:
                self._remembered.keep(key, result, fields)
            elif block != self._seen:
                self._seen = block
            elif (added := _added_by(block)) is not None:
                self._adding.keep(key, (result, added), fields)
        return result

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
    __slots__ = ("_encoder", "_lowest", "_remembered", "_size")

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()
        self._remembered = _Memory()
        self._size = self._lowest = TABLE_BYTES

    def limit_table(self, sizes: list[int]) -> None:
        """The peer's decoder holds no more than these, one after the other; we never use more than TABLE_BYTES."""
        self._lowest = min(self._lowest, *sizes)
        self._size = min(TABLE_BYTES, sizes[-1])

    def encode(self, fields: Headers) -> bytes:
        """The block. `:path` comes first and what is never indexed last, around the rest, which is likely to repeat as a whole."""
        begin, end, rest = self._resize(), b"", []
        for field in fields:
            prefix = _LITERAL.get(field[0])
            if prefix is None:
                rest.append(field)
            elif field[0] == b":path":
                begin += prefix + _string(field[1])
            else:
                end += prefix + _string(field[1])
        return begin + self._encode_rest(rest) + end

    def _resize(self) -> bytes:
        """> [It] MUST signal the smallest maximum, and then the final one (RFC 7541 s4.2), before anything else."""
        encoder = self._encoder
        size = encoder.header_table_size
        if self._lowest >= size == self._size:
            return b""
        encoder.header_table_size = self._lowest
        if self._size != self._lowest:
            encoder.header_table_size = self._size
        self._lowest = self._size
        self._remembered.forget()
        return bytes(encoder.encode([]))

    def _encode_rest(self, fields: Headers) -> bytes:
        key = tuple(fields)
        found: bytes | None = self._remembered.get(key)
        if found is not None:
            return found
        before = _state(self._encoder.header_table)
        block: bytes = self._encoder.encode(fields, huffman=False)
        if not _is_same(before, _state(self._encoder.header_table)):
            self._remembered.forget()
        elif len(block) <= REMEMBERED_BLOCK_BYTES:
            self._remembered.keep(key, block, fields)
        return block


def _string(value: bytes) -> bytes:
    """A value without Huffman coding, which costs more time than its bytes are worth (RFC 7541 s5.2)."""
    size = len(value)
    return (bytes((size,)) if size < 127 else bytes(encode_integer(size, 7))) + value
