"""How a server of the control plane ends: told so, it goes on for a moment, for those who have not heard yet that it is going."""

import signal
from collections.abc import Awaitable, Callable

import trio

LINGER_S = 5.0      # as long as an API server waits for a webhook, and longer than Services take to lead elsewhere


async def serve_until_told(serve: Callable[[], Awaitable[None]]) -> None:
    """Cancels `serve` LINGER_S after SIGTERM, as Kubernetes ends a pod, and at once at SIGINT or a second SIGTERM.

    The first process of a container has no default action for either.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await serve()
                nursery.cancel_scope.cancel()

            nursery.start_soon(run)
            if await anext(signals) == signal.SIGTERM:
                with trio.move_on_after(LINGER_S):
                    await anext(signals)
            nursery.cancel_scope.cancel()
