"""A UDP socket on loopback that answers each datagram where it came from."""

import socket
from collections.abc import Awaitable, Callable

import trio
from trio.lowlevel import notify_closing, wait_readable

from sidecar.model.errors import ConfigError, MeshError

from .listener import Tally, why_not

MAX_DATAGRAM_BYTES = 4096
AT_ONCE = 256   # questions being answered; beyond it datagrams are dropped, as UDP may

Answerer = Callable[[bytes], Awaitable[bytes | None]]


def bind_udp(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((host, port))
    except OSError as exc:
        sock.close()
        raise ConfigError("listen.dns", f"cannot bind UDP {host} port {port}: {why_not(exc)}") from exc
    return sock


async def serve_datagrams(sock: socket.socket, answer: Answerer, is_canary: Callable[[bytes], bool], tally: Tally) -> None:
    """For ever; an answer of None is silence. Canaries are taken at once, however busy the answerer is."""
    busy = 0

    async def respond(data: bytes, peer: tuple[str, int]) -> None:
        nonlocal busy
        try:
            reply = await answer(data)
            if reply is not None:
                sock.sendto(reply, peer)
        except (MeshError, OSError):
            pass    # the application asks again
        except Exception as exc:  # noqa: BLE001 -- the supervisor of datagrams: one bad question ends nothing else
            tally.report(exc)
        finally:
            busy -= 1

    try:
        async with trio.open_nursery() as nursery:
            while True:
                await wait_readable(sock)
                try:
                    data, peer = sock.recvfrom(MAX_DATAGRAM_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    continue    # an earlier answer was refused
                if not is_canary(data) and busy < AT_ONCE:
                    busy += 1
                    nursery.start_soon(respond, data, peer)
    finally:
        notify_closing(sock)
        sock.close()
