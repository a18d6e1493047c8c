"""Real servers for handlers to talk to: each runs in a folder of its own, on a
unix socket and a free port of 127.0.0.1, and is ended by its process id.

    with Redis() as redis:
        redis.command("SET", "key", "value")
        redis.kill()  # without a word to its clients
        redis.start()  # on the same port

conftest.py has a fixture for each, which is started when a test first asks
for it and serves the tests of the session after that.

SPDX-License-Identifier: MIT
"""
import ctypes
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

from support.fastcgi import DEADLINE
from support.gateway import free_port, wait_until
from support.programs import find


def somebody():
    """For Popen: root becomes somebody else, because PostgreSQL, MariaDB and
    memcached refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


_prctl = ctypes.CDLL(None).prctl
PR_SET_PDEATHSIG = 1


def ends_with_us(sig):
    """For preexec_fn: the signal comes when this process has ended without
    ending the child."""
    return lambda: _prctl(PR_SET_PDEATHSIG, int(sig), 0, 0, 0)


def make_certificate(folder):
    """A certificate for localhost and 127.0.0.1 that signs itself; the paths
    of it and of its key."""
    paths = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [find("openssl", "openssl"), "req", "-x509", "-nodes", "-days", "2",
         "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-out", str(paths[0]), "-keyout", str(paths[1])],
        check=True, capture_output=True)
    paths[1].chmod(0o644)  # for somebody; nothing is worth hiding here
    return paths


class Backend:
    """A server.  What a subclass says: name, executable and package, where the
    executable is if not in PATH, arguments(), is_ready(), and what the server
    needs before its first start: prepare()."""
    folders = ()
    stop_signal = signal.SIGTERM

    def __init__(self):
        self.program = find(self.executable, self.package, self.folders)
        self.folder = pathlib.Path(tempfile.mkdtemp(
            prefix=f"fcgi-lua-{self.name}-"))
        self.folder.chmod(0o755)
        self.user = somebody()
        self.give(self.folder)
        self.path = str(self.folder / "socket")
        self.port = free_port()
        self.child = None

    def __enter__(self):
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self):
        pass

    def give(self, path):
        """Makes a file the server's own."""
        if self.user:
            os.chown(path, self.user["user"], self.user["group"])

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    # its life

    def start(self):
        with open(self.folder / "log", "wb") as log:
            self.child = subprocess.Popen(
                [self.program, *map(str, self.arguments())], cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
                preexec_fn=ends_with_us(self.stop_signal), **self.user)
        try:
            wait_until(self._is_up, f"{self.name} to serve")
        except BaseException:
            print(f"--- the log of {self.name}:\n{self.log()}")
            self.kill()
            raise

    def _is_up(self):
        assert self.is_alive(), f"{self.name} ended with {self.child.poll()}"
        try:
            return self.is_ready()
        except OSError:
            return False

    def is_alive(self):
        return self.child is not None and self.child.poll() is None

    def stop(self):
        """Asks it to end, and waits."""
        if self.is_alive():
            self.child.send_signal(self.stop_signal)
            try:
                self.child.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} did not end") from None

    def kill(self):
        """Ends it without a chance to tell anybody, and waits."""
        if self.is_alive():
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()

    def ensure(self):
        """It, started anew if the test before has ended it."""
        if not self.is_alive():
            self.start()
        return self

    def log(self):
        """What it has logged since it was started last."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def exchange(self, request, end):
        """Sends bytes over TCP, and returns what comes up to those of end."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            sock.sendall(request)
            answer = b""
            while end not in answer:
                piece = sock.recv(65536)
                if not piece:
                    raise ConnectionError(f"{self.name}: {answer!r}")
                answer += piece
            return answer


class Redis(Backend):
    name, executable, package = "redis", "redis-server", "redis-server"

    def __init__(self, *options):
        super().__init__()
        self.options = options

    def arguments(self):
        return ["--port", self.port, "--bind", "127.0.0.1", "--unixsocket",
                self.path, "--unixsocketperm", "777", "--save", "",
                "--appendonly", "no", *self.options]

    def command(self, *words):
        """Its answer to a command: text, a number as text, or None; for tests
        that look from outside at what handlers have done."""
        parts = [str(word).encode() for word in words]
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock, \
                sock.makefile("rb") as stream:
            sock.sendall(b"*%d\r\n" % len(parts) + b"".join(
                b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            head = stream.readline().decode().rstrip()
            assert head[0] in "+:$", f"redis, {words}: {head}"
            if head[0] != "$":
                return head[1:]
            size = int(head[1:])
            return None if size < 0 else stream.read(size).decode()

    def is_ready(self):
        return self.exchange(b"PING\r\n", b"\n") == b"+PONG\r\n"


class Memcached(Backend):
    """On TCP only: it takes either that or a unix socket."""
    name, executable, package = "memcached", "memcached", "memcached"
    stop_signal = signal.SIGKILL  # it has nothing to lose but a second

    def arguments(self):
        return ["-l", "127.0.0.1", "-p", self.port, "-U", 0, "-t", 1]

    def is_ready(self):
        return self.exchange(b"version\r\n", b"\n").startswith(b"VERSION")


class Postgres(Backend):
    """A cluster whose user and database are "test"; no password is asked."""
    name, executable, package = "postgres", "postgres", "postgresql"
    folders = sorted(map(str, pathlib.Path("/usr/lib/postgresql").glob(
        "*/bin")), reverse=True)
    stop_signal = signal.SIGINT  # does not wait for clients

    def prepare(self):
        subprocess.run(
            [os.path.join(os.path.dirname(self.program), "initdb"), "-D",
             self.folder / "data", "-U", "test", "-A", "trust", "-E", "UTF8",
             "--no-locale", "--no-sync", "--no-instructions"],
            cwd=self.folder, check=True, stdout=subprocess.DEVNULL,
            **self.user)

    def arguments(self):
        settings = {"listen_addresses": "127.0.0.1", "fsync": "off",
                    "max_connections": 20, "shared_buffers": "4MB",
                    "autovacuum": "off", "max_wal_senders": 0,
                    "wal_level": "minimal"}
        return ["-D", self.folder / "data", "-p", self.port, "-k",
                self.folder, *(f"--{name}={value}"
                               for name, value in settings.items())]

    def is_ready(self):
        return "ready to accept connections" in self.log()

    @property
    def conninfo(self):
        """As libpq wants it."""
        return (f"host={self.folder} port={self.port} user=test "
                "dbname=postgres")


class Mariadb(Backend):
    """With the database "test" for the user "test", whose password is
    "secret"."""
    name, executable = "mariadb", "mariadbd"
    package = "mariadb-server-core"
    TABLES = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
    SMALL = ("--no-defaults", "--innodb-log-file-size=4M",
             "--innodb-buffer-pool-size=8M", "--innodb-flush-method=nosync",
             "--innodb-temp-data-file-path=ibtmp1:3M:autoextend")

    def prepare(self):
        # What mariadb-install-db does, without all that takes it seconds.
        sql = ["create database mysql;\nuse mysql;\n",
               "set @auth_root_socket = null;\n"]
        sql += [pathlib.Path("/usr/share/mysql", name).read_text()
                for name in self.TABLES]
        sql += ["flush privileges;\ncreate database test;\n",
                "create user test@'%' identified by 'secret';\n",
                "grant all on test.* to test@'%';\n"]
        (self.folder / "data").mkdir()
        self.give(self.folder / "data")
        done = subprocess.run(
            [self.program, *self.SMALL, "--bootstrap", "--skip-networking",
             f"--datadir={self.folder / 'data'}"], input="".join(sql),
            cwd=self.folder, text=True, capture_output=True, **self.user)
        assert done.returncode == 0, done.stderr

    def arguments(self):
        return [*self.SMALL, f"--datadir={self.folder / 'data'}",
                f"--socket={self.path}", "--bind-address=127.0.0.1",
                f"--port={self.port}", "--skip-name-resolve"]

    def is_ready(self):
        return "ready for connections" in self.log()


class Mailer(Backend):
    """An SMTP server that keeps what it gets."""
    name, executable = "mailer", "python3"
    package = "python3-aiosmtpd"
    folders = ("/usr/bin",)  # the system's Python has the system's packages

    def arguments(self):
        return ["-m", "aiosmtpd", "-n", "-l", self.address, "-c",
                "aiosmtpd.handlers.Mailbox", self.folder / "mail"]

    def is_ready(self):
        return self.exchange(b"QUIT\r\n", b"\n").startswith(b"220 ")

    def mails(self):
        """The texts of all that came."""
        return [mail.read_text() for mail in
                sorted((self.folder / "mail" / "new").iterdir())]


class Nginx(Backend):
    """A web server with www/ as its files and the locations of a test, in
    HTTP, and in HTTPS with a certificate for localhost (cert) if tls."""
    name, executable, package = "nginx", "nginx", "nginx-light"

    def __init__(self, locations="", tls=False):
        super().__init__()
        self.locations, self.tls_port = locations, tls and free_port()
        self.www = self.folder / "www"
        self.www.mkdir()
        self.give(self.www)
        self.cert = None

    def prepare(self):
        listens = f"listen 127.0.0.1:{self.port};"
        if self.tls_port:
            self.cert, key = make_certificate(self.folder)
            listens += (f" listen 127.0.0.1:{self.tls_port} ssl; "
                        f"ssl_certificate {self.cert}; "
                        f"ssl_certificate_key {key};")
        temporary = "".join(
            f"    {name}_temp_path {self.folder}/tmp-{name};\n" for name in
            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(f"""\
daemon off;
worker_processes 1;
pid {self.folder}/pid;
error_log stderr;
events {{ }}
http {{
{temporary}    access_log {self.folder}/access;
    default_type application/octet-stream;
    client_max_body_size 64m;
    server {{
        {listens}
        root {self.www};
        {self.locations}
    }}
}}
""")

    def arguments(self):
        return ["-e", "stderr", "-c", self.folder / "nginx.conf"]

    def is_ready(self):
        return self.exchange(b"HEAD / HTTP/1.0\r\n\r\n",
                             b"\n").startswith(b"HTTP/")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self):
        return f"https://localhost:{self.tls_port}"


class Shared:
    """The backends of a session, one of a kind, started when first asked
    for."""

    def __init__(self):
        self.running = {}

    def get(self, kind):
        if kind not in self.running:
            self.running[kind] = kind().__enter__()
        return self.running[kind].ensure()

    def close(self):
        for backend in self.running.values():
            backend.__exit__()
