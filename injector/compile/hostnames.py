"""Host names of listeners and routes: which of a route's a listener hears, and which of two is the narrower. Pure.

`*.example.com` of the Gateway API stands for one label or more before example.com, which our rules write `**.example.com`. An empty
name is every host.
Spec: gateway.networking.k8s.io/v1 Listener.hostname, HTTPRoute.hostnames.
"""

from collections.abc import Iterable


def deep(name: str) -> str:
    """The API's name as a rule of ours has it."""
    return f"*{name}" if name.startswith("*.") else name


def is_within(name: str, outer: str) -> bool:
    """Whether every host that `name` stands for is one of `outer`, too."""
    return not outer or name == outer or (outer.startswith("*.") and name.removeprefix("*").endswith(outer[1:]))


def intersect(listener: str, names: Iterable[str]) -> tuple[str, ...]:
    """What a listener hears of a route: of each pair the narrower name; nothing where none have a host in common.

    Args:
        names: of the route; none are every host.
    """
    names = tuple(names) or ("",)
    pairs = (name if is_within(name, listener) else listener for name in names if is_within(name, listener) or is_within(listener, name))
    return tuple(dict.fromkeys(pairs))


def left_to(name: str, listener: str, others: Iterable[str]) -> bool:
    """Whether a listener's request for `name` is not another's, on the same port, whose own name is narrower than the listener's."""
    return not any(other != listener and is_within(other, listener) and is_within(name, other) for other in others if name)
