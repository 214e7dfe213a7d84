"""Client certificates for external hosts that stand in files of the sidecar's own, read again when they change.

What was read once stays in force until both files can be read again and belong together: they are not replaced in one step.
"""

import sys

import trio

from sidecar.model.egress import ClientCertificate
from sidecar.model.errors import ConfigError

from .files import LOOK_EVERY_S, FileState, read_file, state_of
from .tls_context import load_certificates, load_private_key

Material = tuple[str, str]      # PEM of chain and key


class ClientFiles:
    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[FileState, Material]] = {}

    def material(self, certificate: ClientCertificate) -> Material | None:
        """Of its files, or its own; None: it has none. ConfigError if files have never been usable."""
        files = _files_of(certificate)
        if files is None:
            return (certificate.chain, certificate.key) if certificate.chain is not None and certificate.key is not None else None
        if files not in self._known:
            self._known[files] = state_of(files), _read(files)
        return self._known[files][1]

    def keep_only(self, certificates: set[ClientCertificate]) -> None:
        """Forget the keys of all others."""
        named = {_files_of(certificate) for certificate in certificates}
        self._known = {files: known for files, known in self._known.items() if files in named}

    def look(self) -> None:
        for files, (seen, material) in list(self._known.items()):
            now = state_of(files)
            if now != seen:
                try:
                    material = _read(files)
                except ConfigError as exc:
                    print(f"bartizan: kept the previous version: {exc}", file=sys.stderr, flush=True)
                self._known[files] = now, material

    async def follow(self) -> None:
        while True:
            await trio.sleep(LOOK_EVERY_S)
            self.look()


def _files_of(certificate: ClientCertificate) -> tuple[str, str] | None:
    if certificate.chain_file is None or certificate.key_file is None:
        return None
    return certificate.chain_file, certificate.key_file


def _read(files: tuple[str, str]) -> Material:
    where = "clientCertificate"
    chain, key = (read_file(path, where) for path in files)
    if load_certificates(chain, where)[0].public_key() != load_private_key(key, where).public_key():
        raise ConfigError(where, f"the key in {files[1]} is not of the certificate in {files[0]}")
    return chain.decode("latin-1"), key.decode("latin-1")
