"""Gateways to test: the program that $FCGI_LUA names, started with a script
and options, watched for sanitizer reports, ended by its process id.

    with Gateway("function on_request(req) return 200, {}, 'hi' end") as gw:
        assert gw.request().body == b"hi"

SPDX-License-Identifier: MIT
"""
import errno
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from signal import SIGTERM

from support import fastcgi

DEADLINE = fastcgi.DEADLINE
PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
REPORTS = re.compile(r"ERROR: AddressSanitizer|LeakSanitizer|runtime error:|"
                     r"ERROR: ThreadSanitizer|AddressSanitizer:DEADLYSIGNAL")
# What a test must not inherit from whoever runs the tests.
FOREIGN = re.compile(r"FCGI_|LISTEN_|NOTIFY_SOCKET|WATCHDOG_|LUA_|"
                     r"JOURNAL_STREAM|INVOCATION_ID")


def program():
    """The path of the program under test."""
    path = os.environ.get("FCGI_LUA")
    if not path:
        raise RuntimeError("set FCGI_LUA to the path of the fcgi-lua program "
                           "to test")
    return os.path.abspath(path)


_is_asan = None


def is_asan():
    """Whether the program is built with AddressSanitizer (memory bounds are
    wider then)."""
    global _is_asan
    if _is_asan is None:
        _is_asan = b"__asan_init" in pathlib.Path(program()).read_bytes()
    return _is_asan


def wait_until(condition, what="the condition", timeout=DEADLINE):
    """Polls until condition() is true; its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {timeout} s"
        time.sleep(0.005)


_claims = []  # sockets whose names say which ports are ours


def free_port(host="127.0.0.1"):
    """A port that nobody uses, and that no other test process is given while
    this one lives.  The kernel gives it to nobody who asks for any port: these
    are above."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = random.SystemRandom().randrange(10240, 32768)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0fcgi-lua tests: port {port}")
            with socket.socket(family) as sock:
                sock.bind((host, port))
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            _claims.append(claim)
            return port


def environment(env=None, lean=False):
    """The environment of a child: ours without what could change the program;
    env on top (None removes a name).  lean keeps AddressSanitizer from holding
    freed memory, for tests that measure it."""
    merged = {name: value for name, value in os.environ.items()
              if not FOREIGN.match(name)}
    merged.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    if lean:
        merged["ASAN_OPTIONS"] = ":".join(filter(None, [
            merged.get("ASAN_OPTIONS", ""), "quarantine_size_mb=1",
            "thread_local_quarantine_size_kb=16",
            "allocator_release_to_os_interval_ms=500"]))
    for name, value in (env or {}).items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = str(value)
    return merged


def check_reports(text):
    """Fails if text has a sanitizer's report."""
    found = REPORTS.search(text)
    assert not found, "sanitizer report:\n" + text[max(found.start() - 500, 0):
                                                   found.start() + 8000]


class Result:
    """What a finished program left: code (negative: a signal), out, err."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"<exit {self.code}\nout: {self.out}\nerr: {self.err}>"


def run(*args, env=None, stdin=subprocess.DEVNULL, cwd=None, wrap=(),
        timeout=DEADLINE, **popen_args):
    """Runs the program to its end; a Result with text.  stdin is a file, or
    text.  wrap is put before the program, e.g. ["sh", "-c", ..., "sh"]."""
    given = stdin if isinstance(stdin, str) else None
    child = subprocess.Popen(
        [*wrap, program(), *map(str, args)], env=environment(env), cwd=cwd,
        stdin=subprocess.PIPE if given is not None else stdin,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen_args)
    try:
        out, err = child.communicate(
            given.encode() if given is not None else None, timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise AssertionError(f"{args} did not end within {timeout} s:\n"
                             f"{err.decode('utf-8', 'replace')}") from None
    result = Result(child.returncode, out.decode("utf-8", "replace"),
                    err.decode("utf-8", "replace"))
    check_reports(result.err)
    return result


class Gateway:
    """A running gateway.

    script    text, or a path (an existing file)
    options   of the command line, before the script
    listen    "unix" or "tcp": a socket of our choice; None: options say where
              (then pass `address` to wait for, or nothing is waited for); any
              other text is given to --listen, with `address` to connect to
    args      after the script
    expect    the exit code that __exit__ asks for (None: any)
    wrap      put before the program
    nofile    limit of open files, soft and hard
    lean      see environment()
    """

    def __init__(self, script, *options, listen="unix", address=None,
                 env=None, stdin=None, cwd=None, args=(), expect=0, wrap=(),
                 nofile=None, lean=False, wait=True, name="app.lua",
                 **popen_args):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fcgi-lua-"))
        self.expect, self.code, self.stopped = expect, None, False
        self.address, self.child, self.checked = address, None, 0
        self.script = self._place(script, name)
        self.log_path = self.folder / "stderr"
        self.out_path = self.folder / "stdout"
        listening = []
        if listen == "unix":
            self.address = str(self.folder / "socket")
            listening = ["--listen=unix:" + self.address]
        elif listen == "tcp":
            self.address = ("127.0.0.1", free_port())
            listening = ["--listen=%s:%d" % self.address]
        elif listen is not None:
            listening = ["--listen=" + listen]
        if nofile is not None:
            wrap = [*wrap, "sh", "-c", f'ulimit -n {nofile}; exec "$@"', "sh"]
        command = [*wrap, program(), *listening, *map(str, options)]
        if self.script is not None:
            command += [str(self.script), *map(str, args)]
        with open(self.log_path, "wb") as err, \
                open(self.out_path, "wb") as out:
            self.child = subprocess.Popen(
                command, env=environment(env, lean), cwd=cwd,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                **{"stdout": out, "stderr": err, **popen_args})
        if wait and self.address is not None:
            try:
                self.wait_ready()
            except BaseException:
                self.end()
                print(self.log())
                shutil.rmtree(self.folder, ignore_errors=True)
                raise

    def _place(self, script, name):
        if script is None:
            return None
        if isinstance(script, os.PathLike):
            return self._own_copy(script)
        if "\n" not in script and len(script) < 4096 and \
                os.path.isfile(script):
            return self._own_copy(pathlib.Path(script))
        path = self.folder / name
        path.write_text(script)
        return path

    def _own_copy(self, script):
        """A script of the project is copied: the sources may belong to another
        user, and root runs nothing that others can change."""
        if PROJECT not in pathlib.Path(script).resolve().parents:
            return script
        return shutil.copy(script, self.folder)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            if kind is not None:
                self.end()
                print(f"--- the gateway's log (exit {self.code}):\n"
                      f"{self.log()}")
                if kind is not KeyboardInterrupt:
                    self.check_log()
            else:
                self.finish()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    # its life

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def wait_ready(self, timeout=DEADLINE):
        """Until it serves: that the socket accepts says only that it listens.
        It has answered us, or closed the connection of a peer that it does not
        serve."""
        end = time.monotonic() + timeout
        while True:
            try:
                with fastcgi.Connection(self.address, timeout) as conn:
                    conn.ask_values()
                    if conn.read_record() is not None:
                        conn.shutdown()
                        conn.expect_close()     # so that fds() is idle's
                    return
            except (BrokenPipeError, ConnectionResetError):
                return
            except OSError as error:
                assert self.alive(), (f"the gateway ended with "
                                      f"{self.child.returncode}:\n"
                                      f"{self.log()}")
                assert time.monotonic() < end, (f"not ready: {error}\n"
                                                f"{self.log()}")
            time.sleep(0.005)

    def signal(self, sig):
        self.child.send_signal(sig)

    def wait(self, timeout=DEADLINE):
        """Its exit code, once it has ended (negative: the signal)."""
        try:
            self.code = self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the gateway did not end within {timeout} "
                                 f"s:\n{self.log()}") from None
        self.stopped = True
        return self.code

    def stop(self, sig=SIGTERM, timeout=DEADLINE):
        """Signals it and waits; its exit code, which the caller judges."""
        self.signal(sig)
        return self.wait(timeout)

    def end(self):
        """Ends it whatever it does."""
        if self.child is not None and self.alive():
            self.child.terminate()
            try:
                self.child.wait(3)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        if self.child is not None:
            self.code = self.child.returncode

    def finish(self):
        """Stops it if it runs, checks its exit code and log."""
        if not self.stopped:
            ended = not self.alive()
            code = self.wait() if ended else self._stop_kindly()
            assert self.expect is None or code == self.expect, (
                f"{'ended by itself with' if ended else 'exit code'} {code}, "
                f"expected {self.expect}\n{self.log()}")
        self.check_log()

    def _stop_kindly(self):
        try:
            return self.stop()
        except AssertionError:
            self.end()
            raise

    def check_log(self):
        """Fails if a sanitizer has reported something."""
        check_reports(self.log())

    # its log

    def log(self):
        return self.log_path.read_bytes().decode("utf-8", "replace")

    def out(self):
        return self.out_path.read_bytes().decode("utf-8", "replace")

    def wait_log(self, pattern, timeout=DEADLINE):
        """Until its log matches the regular expression; the match."""
        try:
            return wait_until(lambda: re.search(pattern, self.log(), re.M),
                              f"log line {pattern!r}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    # talking to it

    def connect(self, **args):
        """A Connection, to be used with `with`."""
        return fastcgi.Connection(self.address, **args)

    def request(self, params=None, body=b"", **args):
        return fastcgi.request(self.address, params, body, **args)

    def barrier(self):
        """Returns when the gateway has gone through its loop since: its
        answer to a management record on a new connection."""
        with self.connect() as conn:
            conn.get_values()
            conn.shutdown()
            conn.expect_close()

    # what it uses

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def wait_fds(self, at_most, timeout=DEADLINE):
        """Until it has that few open files: closing takes it a turn or two."""
        wait_until(lambda: self.fds() <= at_most,
                   f"at most {at_most} open files", timeout)

    def _status(self, name):
        with open(f"/proc/{self.pid}/status") as status:
            return int(re.search(rf"^{name}:\s+(\d+)", status.read(),
                                 re.M).group(1)) * 1024

    def rss(self):
        """Resident bytes now."""
        return self._status("VmRSS")

    def peak_rss(self):
        """The highest rss() since the start or reset_peak()."""
        return self._status("VmHWM")

    def reset_peak(self):
        with open(f"/proc/{self.pid}/clear_refs", "w") as clear:
            clear.write("5")

    def cpu_time(self):
        """Seconds of processor time that it has used."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Shared:
    """Gateways that several tests use, one per script and options, started
    when first asked for; one that has died is started anew."""

    def __init__(self):
        self.running = {}

    def get(self, script, *options, **args):
        key = (str(script), options, repr(sorted(args.items())))
        gw = self.running.get(key)
        if gw is None or not gw.alive():
            if gw is not None:
                self.drop(key)
            gw = self.running[key] = Gateway(script, *options, **args)
        return gw

    def drop(self, key):
        """Forgets a gateway that has died; whoever it died under has said
        so."""
        gw = self.running.pop(key)
        gw.end()
        shutil.rmtree(gw.folder, ignore_errors=True)

    def check(self):
        """After each test: all are alive, none has a sanitizer's report."""
        for key, gw in list(self.running.items()):
            try:
                gw.check_log()
                assert gw.alive(), (f"the gateway ended with "
                                    f"{gw.child.returncode}:\n{gw.log()}")
            except AssertionError:
                self.drop(key)
                raise

    def close(self):
        errors = []
        for gw in self.running.values():
            try:
                with gw:
                    pass
            except AssertionError as error:
                errors.append(str(error))
        self.running.clear()
        assert not errors, "\n".join(errors)
