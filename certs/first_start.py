"""An issuer's first start in a cluster: it makes the authority, as a Secret, if there never was one.

Several may start at once; the API server takes the first one's keys, and the others take those. A Secret that was lost is another
matter: the mesh trusts roots that were published, and a new root would cut off every pod that runs. So those roots are the witness
that there was an authority; with them, and without it, nothing is made.

Trust: what is in the Secret can be anybody in the mesh; see `secret_store`. The keys are made in memory, and no disk sees them.
Attacked by tests/certs/test_first_start.py.
"""

import secrets
import sys
import tempfile
from pathlib import Path

import msgspec

from sidecar.model.errors import ConfigError
from sidecar.net.clock import WallClock

from . import files
from .kubernetes import CONFLICT, NOT_FOUND, Api, ApiError
from .secret_store import MEMORY, SecretAuthority, manifest, place_of, read_files


async def make_authority(config: SecretAuthority, trust_domain: str, clock: WallClock) -> None:
    """After it there is a Secret, of our making or not. ConfigError if there is none and none may be made."""
    where, api = f"{config.namespace}/{config.name}", Api(config)
    namespace, name = place_of(where)
    collection = f"/api/v1/namespaces/{namespace}"
    try:
        # In this order: whoever makes an authority publishes its roots after that.
        was_published = await _is_there(api, f"{collection}/configmaps/{config.roots}")
        if await _is_there(api, f"{collection}/secrets/{name}"):
            return
        if was_published:
            raise ConfigError("authority", f"the Secret {where} is gone, and the mesh trusts the roots of the ConfigMap {namespace}/"
                                           f"{config.roots}: restore the Secret from a copy. To begin with a new root, which no pod that "
                                           "runs will trust, delete that ConfigMap")
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            files.init(Path(folder), trust_domain, config.https_domains, clock())
            made = manifest(namespace, name, read_files(Path(folder)))
        # Applied rather than posted, since by that our role can say of which name. Each under a manager of its own and without force:
        # who comes second is in conflict with the keys of the first.
        manager = f"bartizan-issuer-{secrets.token_hex(8)}"
        await api.apply(f"{collection}/secrets/{name}", msgspec.json.decode(made), dict, manager=manager, force=False)
    except ApiError as exc:
        if exc.status == CONFLICT:
            return      # another replica was first
        raise ConfigError("authority", str(exc)) from exc
    print(f"bartizan: made an authority for {trust_domain}: the Secret {where}. Its {files.ROOT} is needed for `rotate --intermediates` "
          "only: keep it elsewhere", file=sys.stderr, flush=True)


async def _is_there(api: Api, path: str) -> bool:
    try:
        await api.get(path, dict)
    except ApiError as exc:
        if exc.status == NOT_FOUND:
            return False
        raise
    return True
