"""Servers outside of the mesh that are no HTTP: each once with TLS, which it insists on, and once without."""

import shutil
from pathlib import Path

from tests.helpers import pki
from tests.helpers.pods import APP_UID

from .mesh import DATABASES, PARTNER, Mesh
from .servers import newest_postgres

USER, PASSWORD = "shop", "known to the database"
EXIM = """
daemon_smtp_ports = {port}
spool_directory = {folder}/{name}
log_file_path = {folder}/{name}-%s.log
pid_file_path = {folder}/{name}.pid
primary_hostname = mail.{domain}
exim_user = {uid}
exim_group = {uid}
never_users =
keep_environment =
queue_only = true
{tls}
acl_smtp_rcpt = anything
acl_smtp_data = anything
begin acl
encrypted:
    require encrypted = *
    accept
anything:
    accept
begin routers
all:
    driver = redirect
    data = :blackhole:
"""
EXIM_TLS = """
tls_advertise_hosts = *
tls_certificate = {chain}
tls_privatekey = {key}
acl_smtp_mail = encrypted
"""


class Databases:
    """They live in the pod `outside`; their certificates are for names below `partner.example` only."""

    def __init__(self, mesh: Mesh) -> None:
        self._pod = mesh.outside
        self._folder = mesh.outside.app_folder
        holder = pki.issue(mesh.outside_root, *(pki.host(f"{name}.{PARTNER}") for name in DATABASES), purposes=[pki.SERVER])
        self._chain, self._key = self._folder / "databases.pem", self._folder / "databases.key"
        self._chain.write_text(holder.chain_pem)
        self._key.write_text(holder.key_pem)
        self._key.chmod(0o640)      # root's: PostgreSQL takes no key of somebody else's that others could read
        self._postgres()
        self._mysql()
        self._mail()
        self._cache()

    def _postgres(self) -> None:
        _, port, port_without = DATABASES["postgres"]
        programs = newest_postgres()
        data, other = self._folder / "tls-data", self._folder / "other-data"
        self._pod.call(programs / "initdb", "-A", "trust", "-U", USER, "--no-sync", "-D", data)
        self._pod.call("cp", "-a", data, other)
        (data / "pg_hba.conf").write_text("hostssl all all 0.0.0.0/0 trust\n")
        (other / "pg_hba.conf").write_text("host all all 0.0.0.0/0 trust\n")
        common = ("-k", self._folder, "-c", "listen_addresses=*", "-c", "fsync=off")
        tls = ("-c", "ssl=on", "-c", f"ssl_cert_file={self._chain}", "-c", f"ssl_key_file={self._key}")
        self._pod.serve(port, "postgres-tls", programs / "postgres", "-D", data, "-p", str(port), *common, *tls)
        self._pod.serve(port_without, "postgres", programs / "postgres", "-D", other, "-p", str(port_without), *common)

    def _mysql(self) -> None:
        _, port, port_without = DATABASES["mysql"]
        data, other = self._folder / "mysql-tls", self._folder / "mysql"
        self._pod.call("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
                       "--skip-test-db")
        self._pod.call("cp", "-a", data, other)
        users = self._folder / "users.sql"
        users.write_text(
            "install soname 'auth_ed25519';\n"
            f"create user {USER} identified by '{PASSWORD}';\ncreate user ed identified via ed25519 using password('{PASSWORD}');\n"
            f"grant all on *.* to {USER}, ed;\n")
        tls = (f"--ssl-cert={self._chain}", f"--ssl-key={self._key}", "--require-secure-transport=ON")
        for at, folder, more in ((port, data, tls), (port_without, other, ("--skip-ssl",))):
            self._pod.serve(at, folder.name, "mariadbd", "--no-defaults", f"--datadir={folder}", f"--port={at}", "--bind-address=0.0.0.0",
                            f"--socket={folder}.sock", f"--pid-file={folder}.pid", f"--init-file={users}", "--skip-name-resolve",
                            "--innodb-flush-log-at-trx-commit=0", *more)

    def _mail(self) -> None:
        """A copy of Exim: Debian's is setuid and would want to become its user, whom it looks for all the same."""
        with (self._pod.folder / "passwd").open("a") as users:
            users.write(f"Debian-exim:x:{APP_UID}:{APP_UID}::/nonexistent:/bin/sh\n")
        exim = self._folder / "exim"
        shutil.copyfile("/usr/sbin/exim4", exim)
        exim.chmod(0o755)
        _, port, port_without = DATABASES["mail"]
        tls = EXIM_TLS.format(chain=self._chain, key=self._key)
        for name, at, more in (("mail-tls", port, tls), ("mail", port_without, "tls_advertise_hosts =")):
            conf = self._folder / f"{name}.conf"
            conf.write_text(EXIM.format(port=at, folder=self._folder, name=name, uid=APP_UID, domain=PARTNER, tls=more))
            self._pod.serve(at, name, exim, "-C", conf, "-bdf")

    def _cache(self) -> None:
        """Only with TLS: asked for it in vain, Redis would wait for the end of a line."""
        _, port, _ = DATABASES["cache"]
        self._pod.serve(port, "redis-tls", "redis-server", "--port", "0", "--tls-port", str(port), "--protected-mode", "no",
                        "--save", "", "--dir", self._folder, "--tls-cert-file", self._chain, "--tls-key-file", self._key,
                        "--tls-auth-clients", "no")

    def mail(self) -> str:
        """What the server with TLS has written down."""
        return (self._folder / "mail-tls-main.log").read_text()

    def letters(self) -> bytes:
        """What it has taken in."""
        return b"".join(path.read_bytes() for path in Path(self._folder / "mail-tls" / "input").glob("*-D"))
