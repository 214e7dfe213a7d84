"""What the injector is started with: `bartizan injector --config FILE`, JSON."""

from typing import Annotated

import msgspec

from sidecar.model.value import Name, Value, from_json

from .settings import Bypass, Mark

ListenPort = Annotated[int, msgspec.Meta(ge=0, le=65535)]   # 0 takes a free one


class InjectorConfig(Value, frozen=True):
    """
    Args:
        directory: of manifests; watched.
        roots_file: PEM; the mesh's trust bundle, written into each pod and demanded of each sidecar.
        chain_file, key_file: the injector's own HTTPS certificate; read again when they change.
        issuer_url, stream_url: what sidecars are told.
        state_file: where each workload's last good rules are kept over a restart.
        bypass: how the packet rules know the sidecar; see `injector/settings.py`.
    """

    directory: Name
    trust_domain: Name
    roots_file: Name
    chain_file: Name
    key_file: Name
    issuer_url: Name
    stream_url: Name
    state_file: Name
    address: Name = "::"
    webhook_port: ListenPort = 9443
    stream_port: ListenPort = 9444
    image: Name = "bartizan"
    bypass: Bypass = "uid"
    mark: Mark = 1337


def parse_config(data: bytes) -> InjectorConfig:
    """The configuration that the JSON text holds, or ConfigError."""
    return from_json(data, InjectorConfig)
