"""What the injector is started with: `bartizan injector --config FILE`, JSON."""

from typing import Annotated

import msgspec

from certs.kubernetes import ApiServer
from sidecar.model import identity
from sidecar.model.errors import ConfigError
from sidecar.model.identity import SpiffeId
from sidecar.model.value import Name, Value, from_json

from .settings import Bypass, Mark, PullPolicy, Resources, Settings, sidecar_resources

ListenPort = Annotated[int, msgspec.Meta(ge=0, le=65535)]   # 0 takes a free one


class InjectorConfig(Value, frozen=True):
    """
    Args:
        directory: of manifests; watched. Without it the objects come from `kubernetes`.
        roots_file: PEM; the mesh's trust bundle, for the first start: from then on it is followed from the issuer.
        issuer_url, stream_url: what sidecars are told; the injector itself asks at the former.
        state_directory: what is kept over a restart: last good rules, trust, evidence. Made if it is not there.
        token_file: the injector's own pod token, audience `bartizan`: its HTTPS certificate comes from the issuer.
        chain_file, key_file: without `token_file`: its HTTPS certificate; read again when they change.
        issuer_identity: who may ask how far a rotation has come; empty: `spiffe://TRUST-DOMAIN/ns/bartizan-system/sa/bartizan-issuer`.
        learning_days: how far back the profile of a workload's egress looks; see `injector/egress/profile.py`.
        kubernetes: the API server that objects come from, and that is told Events; `{}`: the one of the pod's own cluster.
        revision: of this control plane; empty: the one of namespaces that name none.
        image, image_pull_policy, net_raw, resources: of the parts that admission adds; see `injector/settings.py`.
        bypass: how the packet rules know the sidecar; see there.
    """

    trust_domain: Name
    roots_file: Name
    issuer_url: Name
    stream_url: Name
    state_directory: Name
    directory: Name | None = None
    token_file: Name | None = None
    chain_file: Name | None = None
    key_file: Name | None = None
    issuer_identity: str = ""
    address: Name = "::"
    webhook_port: ListenPort = 9443
    stream_port: ListenPort = 9444
    learning_days: Annotated[int, msgspec.Meta(ge=1, le=90)] = 7
    kubernetes: ApiServer | None = None
    revision: str = ""
    image: Name = "bartizan"
    image_pull_policy: PullPolicy = "IfNotPresent"
    net_raw: bool = False
    resources: Resources = msgspec.field(default_factory=sidecar_resources)
    bypass: Bypass = "uid"
    mark: Mark = 1337


def parse_config(data: bytes) -> InjectorConfig:
    """The configuration that the JSON text holds, or ConfigError."""
    config = from_json(data, InjectorConfig)
    if config.directory is None and config.kubernetes is None:
        raise ConfigError("kubernetes", "give it, `{}` for the pod's own cluster, or a directory: there is nothing to read objects from")
    if config.token_file is None and (config.chain_file is None or config.key_file is None):
        raise ConfigError("tokenFile", "give it, or chainFile and keyFile: the injector needs a certificate of its own")
    if config.token_file is not None and (config.chain_file is not None or config.key_file is not None):
        raise ConfigError("tokenFile", "the certificate comes from the issuer or from chainFile and keyFile; remove one")
    try:
        issuer_of(config)
    except ValueError as exc:
        raise ConfigError("issuerIdentity" if config.issuer_identity else "trustDomain", str(exc)) from exc
    return config


def settings_of(config: InjectorConfig) -> Settings:
    """What new pods get; the roots are known to who follows them."""
    return Settings(
        image=config.image, image_pull_policy=config.image_pull_policy, resources=config.resources, net_raw=config.net_raw,
        issuer_url=config.issuer_url, stream_url=config.stream_url, bypass=config.bypass, mark=config.mark,
    )


def issuer_of(config: InjectorConfig) -> SpiffeId:
    """The issuer's own identity."""
    if config.issuer_identity:
        return identity.parse(config.issuer_identity)
    return identity.workload_id(config.trust_domain, "bartizan-system", "bartizan-issuer")
