"""What run and memory share: building, starting servers, and their clocks.

SPDX-License-Identifier: MIT
"""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
READY_SECONDS = 10


def fail(message):
    print("bench:", message, file=sys.stderr)
    raise SystemExit(2)


def gateway_binary():
    """The release build: only that says anything about speed and memory."""
    given = os.environ.get("FCGI_LUA")
    path = given or os.path.join(ROOT, "build", "release", "fcgi-lua")
    if not os.path.exists(path) and not given:
        print("bench: building the release preset", file=sys.stderr)
        for step in (["--preset", "release"],
                     ["--build", "--preset", "release"]):
            done = subprocess.run(["cmake", *step], cwd=ROOT,
                                  stdout=sys.stderr, check=False)
            if done.returncode != 0:
                break
    if not os.access(path, os.X_OK):
        fail(f"no gateway at {path} (FCGI_LUA names another one, "
             "--sides floor,libfcgi goes without)")
    return path


def build_helper(name, folder):
    """Compiles NAME.c into folder; returns the program's path."""
    program = os.path.join(folder, name)
    libs = ["-lfcgi"] if name.startswith("libfcgi") else []
    command = [os.environ.get("CC", "cc"), "-std=c11", "-O2", "-o", program,
               os.path.join(HERE, name + ".c"), *libs]
    if subprocess.run(command, check=False).returncode != 0:
        fail(f"{name}.c does not compile"
             + (" (libfcgi-dev is needed)" if libs else ""))
    return program


def two_cpus():
    """One for the server and one for the load, or None for both: with one
    CPU there is nothing to pin."""
    cpus = sorted(os.sched_getaffinity(0))
    return (cpus[0], cpus[1]) if len(cpus) > 1 else (None, None)


def pin(cpu):
    """For preexec_fn: the child stays on that CPU from its first byte."""
    return (lambda: os.sched_setaffinity(0, {cpu})) if cpu is not None \
        else None


class Server:
    """A server process on a unix socket in a folder of its own."""

    def __init__(self, command, cpu=None):
        """In command, "{socket}" stands for the socket's path."""
        self.folder = tempfile.mkdtemp(prefix="fcgi-lua-bench-")
        self.path = os.path.join(self.folder, "socket")
        self.log = os.path.join(self.folder, "log")
        argv = [part.replace("{socket}", self.path) for part in command]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=pin(cpu))
        self.pid = self.process.pid
        try:
            self._wait_until_ready(argv)
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _wait_until_ready(self, argv):
        limit = time.monotonic() + READY_SECONDS
        while True:
            if self.process.poll() is not None:
                fail(f"{argv[0]} ended at once:\n{self.log_text()}")
            try:
                self.connect().close()
                return
            except OSError as error:
                if time.monotonic() > limit:
                    fail(f"{argv[0]} does not listen: {error}\n"
                         + self.log_text())
            time.sleep(0.01)

    def connect(self, timeout=60):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # connect waits for room in the backlog only on a blocking socket,
        # which Python's timeout would make it no longer.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO,
                        struct.pack("@qq", timeout, 0))
        try:
            sock.connect(self.path)
            sock.settimeout(timeout)
        except BaseException:
            sock.close()
            raise
        return sock

    def log_text(self):
        with open(self.log, "rb") as log:
            return log.read().decode(errors="replace")

    def cpu(self):
        """CPU seconds, to the nanosecond: the process's own CPU clock (the
        id is made as clock_getcpuclockid(3) does).  utime and stime of
        /proc/PID/stat come in ticks of 10 ms, and not even those are
        measured but shared out."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        # Nothing that it could still do is wanted, draining least of all.
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def verdict(holds):
    return "ok" if holds else "MISSED"
