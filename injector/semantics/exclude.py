"""What the types cannot say of what passes the sidecar by: the annotation `bartizan.dev/exclude`, and a MeshPolicy's leave for it."""

import ipaddress
from collections.abc import Iterator

from injector.documents import DatagramRange, Exclusions
from sidecar.model.passage import network_problem, port_problem

from .text import Complaint, network_problems


def exclusions_problems(excluded: Exclusions) -> Iterator[Complaint]:
    for field, numbers in ("inboundPorts", excluded.inbound_ports), ("outboundPorts", excluded.outbound_ports):
        yield from _port_problems(field, numbers)
    for i, text in enumerate(excluded.outbound_cidrs):
        malformed = list(network_problems(f"outboundCidrs[{i}]", text))
        yield from malformed
        if not malformed and (problem := network_problem(ipaddress.ip_network(text))):
            yield f"outboundCidrs[{i}]", problem


def udp_problems(datagrams: DatagramRange) -> Iterator[Complaint]:
    yield from network_problems("cidr", datagrams.cidr)
    yield from _port_problems("ports", datagrams.ports)


def _port_problems(field: str, numbers: tuple[int, ...]) -> Iterator[Complaint]:
    for i, number in enumerate(numbers):
        if problem := port_problem(number):
            yield f"{field}[{i}]", problem
