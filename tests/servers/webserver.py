"""The web servers of examples/servers/, run in folders of their own.

    with Nginx() as server:
        answer = http_client.request(server.address, "GET", "/hello")

The tested configuration is the shipped file: nothing in it is replaced but the
addresses and paths that a user edits too, and every text to be replaced must
be there.  (nginx is told folders for its temporary files besides; Apache's
files are sites, which a small apache2.conf includes.)  A server runs in the
foreground in a session of its own, and is ended by its process id.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from support.gateway import (Gateway, check_reports, environment, free_port,
                             program, wait_until)
from support.programs import find

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "examples" / "servers"
APP = HERE / "app.lua"
AUTH = HERE / "auth.lua"
IS_ROOT = os.geteuid() == 0


def replace_texts(text, replacements, source):
    """text with each key replaced by its value, everywhere and all at once."""
    for old in replacements:
        assert old in text, f"{source} has no {old!r} to be replaced"
    longest_first = sorted(replacements, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)),
                  lambda found: replacements[found.group()], text)


def processes_with(text):
    """The ids of the processes whose command line has text."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # it has just ended
                pass
    return sorted(found)


def binary():
    return os.path.realpath(program())


def is_open(address):
    try:
        socket.create_connection(address, 5).close()
        return True
    except OSError:
        return False


class Folder:
    """A folder that processes of other users can work in:

    app.lua, app.fcgi   the application, and as an executable script
    www/                a file to be served: file.txt
    marks/              where tests and handlers leave marks for each other
    run/ log/ tmp/      sockets, logs, bodies
    reports/            what sanitizers say of processes that others start
    """

    def __init__(self, app=APP):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="fcgi-lua-server-"))
        self.path.chmod(0o755)
        for name in ("marks", "run", "log", "tmp", "reports"):
            (self.path / name).mkdir()
            (self.path / name).chmod(0o1777)
        script = app.read_text()
        (self.path / "www").mkdir()
        (self.path / "www").chmod(0o755)
        self.place("www/file.txt", "a protected file\n")
        self.app = self.place("app.lua", script, 0o644)
        self.fcgi = self.place("app.fcgi", "#!/usr/bin/env fcgi-lua\n" +
                               script, 0o755)
        # `env` finds the program through PATH, under its own name.
        (self.path / "bin").mkdir()
        (self.path / "bin").chmod(0o755)
        self.program = self.path / "bin" / "fcgi-lua"
        # A copy: the tests may lie where a web server's user cannot go.
        shutil.copy2(binary(), self.program)
        self.program.chmod(0o755)

    def __truediv__(self, name):
        return self.path / name

    def place(self, name, text, mode=0o644):
        path = self.path / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def sanitizer_options(self):
        """Environment that sends sanitizers' reports to reports/: a process
        that a web server starts has its stderr anywhere."""
        options = {}
        for name, more in (("ASAN_OPTIONS", ""), ("LSAN_OPTIONS", ""),
                           ("UBSAN_OPTIONS", "print_stacktrace=1:")):
            given = os.environ.get(name)
            path = self.path / "reports" / name.partition("_")[0].lower()
            options[name] = (f"{given}:" if given else "") + more + \
                f"log_path={path}"
        return options

    def environment(self):
        """For a process that starts the gateway."""
        path = os.environ.get("PATH", os.defpath)
        return {**self.sanitizer_options(), "TMPDIR": str(self / "tmp"),
                "HOME": str(self / "tmp"),
                "PATH": f"{self.program.parent}:{path}"}

    def check_reports(self):
        for report in (self.path / "reports").iterdir():
            text = report.read_bytes().decode("utf-8", "replace")
            check_reports(text)
            assert not text.strip(), f"a sanitizer's report:\n{text[:8000]}"

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class WebServer:
    """A web server with one of the shipped configurations.

    What a subclass says: name, file, listens (the address in the file at which
    it is tested), package and executable, replacements(), command(), and what
    the tests may ask of it:
    """
    spawns = False          # starts the gateway itself
    gateway_listen = "unix"
    gateway_options = ()
    head_limit = 30000      # bytes of an answer's head that must go through
    has_own_errors = False  # answers some of a large burst with a 500 itself
    chunked_limit = 1024 * 1024  # bytes of a body without Content-Length
    refuses_chunked = False  # with 411, if it has not come at once
    pipes = True            # sends the body on while the answer is coming
    ends_empty_chunked = True  # tells the gateway that nothing is to come
    tells_at_once = False   # a client's end, while the handler is silent
    keeps = False           # connections to the gateway stay open
    multiplexes = False     # several requests at once on a connection
    passes_authorization = True  # the header
    believes_users = False  # hands on names that nobody has checked
    has_stderr = True       # FastCGI's error stream is in its log

    # Of those that spawn:
    graceful = signal.SIGTERM  # finish what runs, then end
    stopping = "stop"       # what the log says once that has begun

    app = APP

    def __init__(self, app=None):
        self.program = find(self.executable, self.package)
        self.folder = Folder(app or self.app)
        self.gateway = self.child = None
        self.ports = {}
        self.idle_fds = 0   # what the gateway has open without connections

    def __enter__(self):
        try:
            if not self.spawns:
                self.start_gateway()
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self.finish()
        finally:
            self.end()

    def finish(self):
        """Stops it, and checks that nothing is left behind."""
        self.stop()
        if self.spawns:
            wait_until(lambda: not self.spawned(),
                       "the end of the gateways it has started")
        else:
            self.gateway.wait_fds(self.idle_fds)
            self.gateway.finish()
        self.folder.check_reports()

    def end(self):
        """Ends everything whatever it does."""
        try:
            self.stop()
        except AssertionError:
            pass
        if self.child is not None:
            try:
                os.killpg(self.child.pid, signal.SIGKILL)  # what it left
            except ProcessLookupError:
                pass
        self.forget_gateway()
        for pid in self.spawned():
            os.kill(pid, signal.SIGKILL)
        self.folder.remove()

    # the gateway

    def forget_gateway(self):
        """Ends the one that there is, if there is one, with its files."""
        if self.gateway is not None:
            self.gateway.end()
            shutil.rmtree(self.gateway.folder, ignore_errors=True)

    def start_gateway(self):
        self.forget_gateway()
        path = str(self.folder / "run" / "app.sock")
        if self.gateway_listen == "unix":
            where = {"listen": f"unix:{path},mode=0666", "address": path}
        else:
            where = {"listen": "tcp"}
        self.gateway = Gateway(self.folder.app, *self.gateway_options,
                               **where)
        self.idle_fds = self.open_fds()

    def open_fds(self):
        """What the gateway has open once it has closed what it is to close."""
        with self.gateway.connect() as conn:
            for _ in range(3):  # turns of its loop
                conn.get_values()
            return self.gateway.fds() - 1

    def gateway_address(self):
        """As the configuration wants it."""
        if self.gateway_listen == "unix" or self.gateway is None:
            return str(self.folder / "run" / "app.sock")
        return "%s:%d" % self.gateway.address

    def spawned(self):
        """The process ids of the gateways that the web server has started."""
        return processes_with(str(self.folder / "app.")) if self.spawns else []

    # the configuration

    def configuration(self):
        """The shipped file, fit for this folder; its path."""
        replacements = dict(self.replacements())
        for text in self.all_addresses():
            port = self.ports.setdefault(text, free_port())
            replacements[text] = re.sub(r"\d+$", str(port), text)
        source = EXAMPLES / self.file
        return self.folder.place(self.file, replace_texts(
            source.read_text(), replacements, self.file))

    def all_addresses(self):
        """What in the file says where to listen; each ends with a port."""
        return [self.listens]

    @property
    def address(self):
        return "127.0.0.1", self.ports[self.listens]

    # its life

    def check_ends(self):
        """Whether the gateways that have ended did so by themselves, as far as
        the log tells."""

    def start(self):
        command = self.command(self.configuration())
        env = environment(self.folder.environment())
        with open(self.folder / "log" / "output", "ab") as log:
            self.child = subprocess.Popen(
                [self.program, *command], cwd=self.folder.path, env=env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        try:
            wait_until(lambda: not self.is_alive() or is_open(self.address),
                       f"{self.name} to listen")
            assert self.is_alive(), f"{self.name} ended at once"
        except BaseException:
            print(f"--- the log of {self.name}:\n{self.log()}")
            raise

    def is_alive(self):
        return self.child is not None and self.child.poll() is None

    def stop(self, sig=signal.SIGTERM):
        """Ends the web server, and with it what it has started."""
        if self.is_alive():
            self.child.send_signal(sig)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
                raise AssertionError(f"{self.name} did not end") from None

    def log(self):
        """Everything that it has logged."""
        return "".join(path.read_bytes().decode("utf-8", "replace")
                       for path in sorted((self.folder / "log").iterdir()))

    def gateway_log(self):
        """Where the gateway's own log ends up."""
        return self.log() if self.gateway is None else self.gateway.log()

    def wait_log(self, text, log=None):
        try:
            wait_until(lambda: text in (log or self.log)(),
                       f"{text!r} in the log")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(log or self.log)()}") from None

    def check(self):
        """After each test: nothing has died, no sanitizer has spoken."""
        self.folder.check_reports()
        if self.gateway is not None:
            self.gateway.check_log()
            assert self.gateway.alive(), "the gateway has ended"
        assert self.is_alive(), f"{self.name} has ended"

    def ensure(self):
        """Before each test: starts what died under the test before."""
        if self.gateway is not None and not self.gateway.alive():
            self.stop()
            self.start_gateway()
        if not self.is_alive():
            self.start()

    # marks: how tests and handlers wait for each other

    def mark(self, prefix, what):
        """The file that is the mark, there or not."""
        return self.folder / "marks" / f"{prefix}.{what}"

    def waiting(self, answer, prefix):
        """The target of a request whose handler uses marks."""
        return f"/{answer}?mark={self.folder / 'marks' / prefix}"


class Nginx(WebServer):
    name, file, listens = "nginx-kept", "nginx.conf", "127.0.0.1:8080"
    executable, package = "nginx", "nginx"
    keeps = True
    pipes = False
    tells_at_once = True
    believes_users = True

    def all_addresses(self):
        return ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082"]

    def replacements(self):
        bodies = "".join(f"    {name}_temp_path {self.folder / 'tmp'}/{name};\n"
                         for name in ("client_body", "proxy", "fastcgi",
                                      "uwsgi", "scgi"))
        return {
            "/run/app.sock": self.gateway_address(),
            "/run/nginx.pid": f"{self.folder / 'run'}/nginx.pid",
            "/var/log/nginx": str(self.folder / "log"),
            # Debian's own paths need root.
            "http {\n": "http {\n" + bodies,
        }

    def command(self, path):
        return ["-e", "stderr", "-g", "daemon off;", "-c", str(path)]


class NginxClose(Nginx):
    name, listens = "nginx-close", "127.0.0.1:8081"
    keeps = False


class NginxStreaming(Nginx):
    name, listens = "nginx-streaming", "127.0.0.1:8082"


class Apache(WebServer):
    """The shipped files are sites; this is the server round them, like what
    Debian's apache2.conf says."""
    executable, package = "apache2", "apache2"
    graceful, stopping = signal.SIGWINCH, "shutting down gracefully"
    modules = ("authz_core",)

    def all_addresses(self):
        return ["127.0.0.1:8080", "127.0.0.1:8081"]

    def command(self, path):
        folder = self.folder
        lines = [f"LoadModule {name}_module "
                 f"/usr/lib/apache2/modules/mod_{name}.so"
                 for name in ("mpm_event", *self.modules)]
        if IS_ROOT:
            lines += ["User www-data", "Group www-data"]
        lines += [
            "ServerName localhost",
            f"DocumentRoot {folder / 'tmp'}",
            f"DefaultRuntimeDir {folder / 'run'}",
            f"PidFile {folder / 'run'}/apache2.pid",
            f"ErrorLog {folder / 'log'}/error.log",
            "LogLevel info",
            "GracefulShutdownTimeout 30",
            "StartServers 2", "MaxRequestWorkers 150", "ThreadsPerChild 25",
            *self.more(),
            f"Include {path}",
        ]
        base = folder.place("apache2.conf", "\n".join([*lines, ""]))
        return ["-DFOREGROUND", "-d", str(folder.path), "-f", str(base)]

    def more(self):
        return []


class ApacheWrapper(Apache):
    name, file = "apache-fcgid-wrapper", "apache-mod_fcgid.conf"
    listens = "127.0.0.1:8080"
    package = "libapache2-mod-fcgid"
    modules = ("authz_core", "alias", "fcgid")
    spawns = True

    def __init__(self, app=None):
        super().__init__(app)
        if not os.path.exists("/usr/lib/apache2/modules/mod_fcgid.so"):
            find("mod_fcgid.so", self.package)

    def replacements(self):
        return {
            "/usr/local/bin/fcgi-lua": str(self.folder.program),
            "/srv/app.lua": str(self.folder.app),
            "/srv/app.fcgi": str(self.folder.fcgi),
            '"/srv"': f'"{self.folder.path}"',
            "/usr/local/bin:": f"{self.folder.program.parent}:/usr/local/bin:",
        }

    def check_ends(self):
        ends = re.findall(r"\(\d+\) exit\(.*", self.log())
        assert ends
        for end in ends:
            assert "terminated by calling exit(), return code: 0" in end

    def more(self):
        return [f"FcgidIPCDir {self.folder / 'run'}",
                f"FcgidProcessTableFile {self.folder / 'run'}/fcgid",
                *(f"FcgidInitialEnv {name} {value}" for name, value
                  in self.folder.sanitizer_options().items())]


class ApacheScript(ApacheWrapper):
    name, listens = "apache-fcgid-script", "127.0.0.1:8081"


class ApacheProxy(Apache):
    name, file = "apache-proxy-unix", "apache-mod_proxy_fcgi.conf"
    listens = "127.0.0.1:8080"
    modules = ("authz_core", "proxy", "proxy_fcgi")

    def replacements(self):
        return {"/run/app.sock": str(self.folder / "run" / "app.sock"),
                "127.0.0.1:9000": "127.0.0.1:9" if self.gateway_listen ==
                "unix" else self.gateway_address()}


class ApacheReuse(ApacheProxy):
    name, listens = "apache-proxy-tcp-reuse", "127.0.0.1:8081"
    gateway_listen = "tcp"
    keeps = True


class Lighttpd(WebServer):
    executable, package = "lighttpd", "lighttpd"
    listens = "server.port = 8080"
    graceful, stopping = signal.SIGINT, "graceful shutdown started"

    def replacements(self):
        return {"/var/log/lighttpd": str(self.folder / "log"),
                "/run/lighttpd.pid": f"{self.folder / 'run'}/lighttpd.pid",
                '"/srv"': f'"{self.folder.path}"',
                "/var/tmp": str(self.folder / "tmp")}

    def command(self, path):
        return ["-D", "-f", str(path)]


class LighttpdSpawn(Lighttpd):
    name, file = "lighttpd-spawn", "lighttpd-spawn.conf"
    spawns = True

    def replacements(self):
        return {**super().replacements(),
                "/usr/local/bin/fcgi-lua": str(self.folder.program),
                "/srv/app.lua": str(self.folder.app),
                "/run/lighttpd/app.sock": self.gateway_address()}


class LighttpdRemote(Lighttpd):
    name, file = "lighttpd-remote", "lighttpd-remote.conf"
    refuses_chunked = True
    ends_empty_chunked = False

    def replacements(self):
        return {**super().replacements(),
                "/run/app.sock": self.gateway_address()}


class Haproxy(WebServer):
    name, file = "haproxy", "haproxy.cfg"
    executable, package = "haproxy", "haproxy"
    listens = "127.0.0.1:8080"
    gateway_options = ("--stderr=log",)  # see the file
    has_stderr = False
    keeps = True
    passes_authorization = False  # it gives the user's name only
    believes_users = True
    head_limit = 12000      # its buffer: 16 KiB
    chunked_limit = 8192    # likewise: it wants all of it first
    ends_empty_chunked = False  # a handler that reads it would wait until
    #                             HAProxy gives up

    def replacements(self):
        return {"/run/app.sock": self.gateway_address()}

    def command(self, path):
        return ["-db", "-f", str(path)]


class HaproxyMux(Haproxy):
    name, file = "haproxy-mux", "haproxy-mux.cfg"
    multiplexes = True
    has_own_errors = True   # see the file


class Caddy(WebServer):
    name, file, listens = "caddy", "Caddyfile", "127.0.0.1:8080"
    executable, package = "caddy", "caddy"
    has_stderr = False      # 2.6.2 drops it, whatever capture_stderr says

    def replacements(self):
        return {"/run/app.sock": self.gateway_address()}

    def command(self, path):
        return ["run", "--config", str(path), "--adapter", "caddyfile"]


class Direct(WebServer):
    """None at all: the gateway's own HTTP, for development."""
    name, listens = "http", "127.0.0.1:8080"
    executable, package = "true", "coreutils"
    tells_at_once = True

    def start_gateway(self):
        port = self.ports.setdefault(self.listens, free_port())
        self.gateway_options = (f"--http=127.0.0.1:{port}",)
        super().start_gateway()

    def start(self):
        wait_until(lambda: is_open(self.address), "the gateway to listen")

    def stop(self, sig=signal.SIGTERM):
        pass

    def is_alive(self):
        return self.gateway.alive()

    def log(self):
        return "" if self.gateway is None else self.gateway.log()


# --- with an authorizer in front ------------------------------------------

class Authorizer:
    """What these configurations have in common: / is served from www/, /app by
    on_request, both after on_authorize.  And what the tests may ask of them:"""
    app = AUTH
    keeps_refusal = True    # its status and body reach the client
    asks = False            # Apache asks for name and password itself
    phases = ("NONE",)      # FCGI_APACHE_ROLE of each call
    shows_variables = False  # the client sees them
    needs_user = False      # an admission without REMOTE_USER is none


class ApacheAuthnz(Authorizer, Apache):
    name, file = "apache-authnz", "apache-mod_authnz_fcgi.conf"
    listens = "127.0.0.1:8080"
    gateway_listen = "tcp"
    modules = ("authn_core", "authz_core", "authz_user", "auth_basic",
               "authnz_fcgi", "proxy", "proxy_fcgi")
    phases = ("AUTHENTICATOR",)
    needs_user = True

    def replacements(self):
        return {'"/srv/www"': f'"{self.folder / "www"}"',
                "127.0.0.1:9000": self.gateway_address()}


class ApacheAuthnzBasic(ApacheAuthnz):
    name, listens = "apache-authnz-basic", "127.0.0.1:8081"
    keeps_refusal = False
    asks = True
    phases = ("AUTHENTICATOR", "AUTHORIZER")
    needs_user = False


class ApacheFcgidAccess(Authorizer, ApacheWrapper):
    name, file = "apache-fcgid-access", "apache-mod_fcgid-authorizer.conf"
    listens = "127.0.0.1:8080"
    modules = ("authn_core", "authn_file", "authz_core", "authz_user",
               "auth_basic", "fcgid")
    keeps_refusal = False
    phases = ("ACCESS_CHECKER",)
    shows_variables = True

    def replacements(self):
        return {
            '"/srv/www"': f'"{self.folder / "www"}"',
            "/srv/app.fcgi": str(self.folder.fcgi),
            "/usr/local/bin:": f"{self.folder.program.parent}:/usr/local/bin:",
        }


class ApacheFcgidBasic(ApacheFcgidAccess):
    name, listens = "apache-fcgid-basic", "127.0.0.1:8081"
    asks = True
    phases = ("AUTHENTICATOR", "AUTHORIZER")


class LighttpdAuthorizer(Authorizer, Lighttpd):
    """The file has both; a gateway runs for the second."""
    name, file = "lighttpd-authorizer-spawn", "lighttpd-authorizer.conf"
    spawns = True

    def all_addresses(self):
        return ["server.port = 8080", "127.0.0.1:8081"]

    def replacements(self):
        run = self.folder / "run"
        replacements = {
            **super().replacements(),
            '"/srv/www"': f'"{self.folder / "www"}"',
            "/usr/local/bin/fcgi-lua": str(self.folder.program),
            "/srv/app.lua": str(self.folder.app),
            "/run/lighttpd/authorizer.sock": f"{run}/authorizer.sock",
            "/run/lighttpd/app.sock": f"{run}/spawned.sock",
            "/run/app.sock": self.gateway_address()}
        del replacements['"/srv"']
        return replacements


class LighttpdAuthorizerRemote(LighttpdAuthorizer):
    name, listens = "lighttpd-authorizer-remote", "127.0.0.1:8081"
    spawns = False


AUTHORIZERS = [ApacheAuthnz, ApacheAuthnzBasic, ApacheFcgidAccess,
               ApacheFcgidBasic, LighttpdAuthorizer, LighttpdAuthorizerRemote]

ALL = [Nginx, NginxClose, NginxStreaming, ApacheWrapper, ApacheScript,
       ApacheProxy, ApacheReuse, LighttpdSpawn, LighttpdRemote, Haproxy,
       HaproxyMux, Caddy, Direct]


class Status:
    """The status page and the ping page for this machine."""
    gateway_options = ("-w", "2", "--status=/status", "--ping=/ping")
    listens = "127.0.0.1:8080"

    def all_addresses(self):
        return [self.listens]

    def open_fds(self):
        """The supervisor's, which serves nobody."""
        self.gateway.wait_log("generation 1 serves")
        return self.gateway.fds()


class NginxStatus(Status, Nginx):
    name, file = "nginx-status", "nginx-status.conf"


class ApacheStatus(Status, ApacheProxy):
    name, file = "apache-status", "apache-status.conf"
    modules = ("authz_core", "authz_host", "proxy", "proxy_fcgi")

    def replacements(self):
        return {"/run/app.sock": self.gateway_address()}


class LighttpdStatus(Status, LighttpdRemote):
    name, file = "lighttpd-status", "lighttpd-status.conf"
    listens = "server.port = 8080"


STATUS = [NginxStatus, ApacheStatus, LighttpdStatus]
