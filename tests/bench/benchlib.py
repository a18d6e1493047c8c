"""What run, memory, waits and sockets share: building, starting servers, their
clocks and memory, and a FastCGI client.

SPDX-License-Identifier: MIT
"""

import ctypes
import math
import os
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
READY_SECONDS = 60  # a floor with an answer of 1 GiB takes a while
KIB, MIB = 1 << 10, 1 << 20
SPARE_FDS = 200
LIBRARIES = {"libfcgi_hello": ["-lfcgi"], "redis_floor": ["-lev"]}


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
    libs = LIBRARIES.get(name, [])
    command = [os.environ.get("CC", "cc"), "-std=c11", "-O2", "-o", program,
               os.path.join(HERE, name + ".c"), *libs]
    if subprocess.run(command, check=False).returncode != 0:
        fail(f"{name}.c does not compile"
             + (f" (it needs {' '.join(libs)})" if libs else ""))
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


def count_instructions(pid):
    """A descriptor that gives what the process runs from now on, or -1:
    perf_event_open(2)."""
    numbers = {"x86_64": 298, "aarch64": 241}
    if os.uname().machine not in numbers:
        return -1
    hardware, instructions, but_kernel = 0, 1, 1 << 5 | 1 << 6
    attr = struct.pack("=IIQQQQQ72x", hardware, 120, instructions, 0, 0, 0,
                       but_kernel)
    return ctypes.CDLL(None, use_errno=True).syscall(
        numbers[os.uname().machine], attr, pid, -1, -1, 0)


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
        self.counter = None  # a descriptor
        try:
            self._wait_until_ready(argv)
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.log_text(), file=sys.stderr)
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

    def instructions(self):
        """How many it ran outside of the kernel since this was first called;
        None where the kernel or the machine does not count them."""
        if self.counter is None:
            self.counter = count_instructions(self.pid)
        return int.from_bytes(os.read(self.counter, 8), sys.byteorder) \
            if self.counter >= 0 else None

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        # Nothing that it could still do is wanted, draining least of all.
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.counter is not None and self.counter >= 0:
            os.close(self.counter)
        shutil.rmtree(self.folder, ignore_errors=True)


# ---- what came of it ----

def verdict(holds):
    return "ok" if holds else "MISSED"


class Table:
    """Figures with their goals; each is printed when it is known."""

    DIGITS = {"ms": 2, "MiB": 1, "us": 2, "x": 2, "s": 1}

    def __init__(self, show):
        self.show = show
        self.rows = []

    def row(self, what, value, unit, goal, holds, note=""):
        """holds: True, False, or None for what is shown but not judged."""
        self.rows.append({"what": what, "value": value, "unit": unit,
                          "goal": goal, "holds": holds, "note": note})
        if self.show:
            remark = goal if holds is None else f"{goal} {verdict(holds)}"
            print(f"{what:48}{value:>8,.{self.DIGITS.get(unit, 0)}f} "
                  f"{unit:4} {remark:18} {note}".rstrip(), flush=True)

    def holds(self):
        return all(row["holds"] is not False for row in self.rows)


def median_interval(values):
    """The median and the bounds between which it lies with a confidence of
    95 %: two of the values, found by counting, whatever their
    distribution."""
    values = sorted(values)
    n, below, k = len(values), 0.0, 0
    while k < n // 2:  # k values may lie below the lower bound
        below += math.comb(n, k) / 2 ** n
        if below > 0.025:
            break
        k += 1
    low = max(k - 1, 0)
    return statistics.median(values), values[low], values[n - 1 - low]


# ---- what the kernel knows of the server ----

def rollup(server):
    """Bytes: resident, and of these private."""
    found = {}
    with open(f"/proc/{server.pid}/smaps_rollup", encoding="ascii") as lines:
        for line in lines:
            fields = line.split()
            if fields[-1] == "kB":
                found[fields[0]] = int(fields[1]) * KIB
    return {"rss": found["Rss:"],
            "private": found["Private_Clean:"] + found["Private_Dirty:"]}


def few_fds(connections):
    """Raises the limit of descriptors, which the server inherits; are there
    too few for so many connections?"""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard != resource.RLIM_INFINITY and hard < connections + SPARE_FDS


def reset_peak(server):
    with open(f"/proc/{server.pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def peak(server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIB
    raise OSError("no VmHWM")


# ---- a FastCGI client, as plain as can be ----

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT = 1, 2, 3, 4, 5, 6
KEEP = 1


def record(kind, content=b"", request_id=1):
    return struct.pack(">BBHHBx", 1, kind, request_id, len(content),
                       0) + content


def begin(flags=0, request_id=1):
    return record(BEGIN, struct.pack(">HB5x", 1, flags), request_id)


def length(text):
    """Of a name or value: a byte, or four above 127."""
    return bytes([len(text)]) if len(text) < 128 \
        else struct.pack(">I", len(text) | 1 << 31)


def params(pairs, request_id=1):
    block = b"".join(
        length(name) + length(value) + name.encode() + value.encode()
        for name, value in pairs.items())
    return record(PARAMS, block, request_id) \
        + record(PARAMS, request_id=request_id)


def request(uri, flags=0, size=0):
    """BEGIN and PARAMS of a request; its STDIN is the caller's."""
    return begin(flags) + params({
        "REQUEST_METHOD": "POST" if size else "GET",
        "REQUEST_URI": uri, "SCRIPT_NAME": uri,
        "CONTENT_LENGTH": str(size) if size else "",
        "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "www.example.org",
        "REMOTE_ADDR": "203.0.113.57"})


# As nginx sends them with its fastcgi_params: 27, about 1 KB.
NGINX_PARAMS = {
    "QUERY_STRING": "page=3&sort=price&order=asc",
    "REQUEST_METHOD": "GET",
    "CONTENT_TYPE": "",
    "CONTENT_LENGTH": "",
    "SCRIPT_NAME": "/shop/items",
    "REQUEST_URI": "/shop/items?page=3&sort=price&order=asc",
    "DOCUMENT_URI": "/shop/items",
    "DOCUMENT_ROOT": "/var/www/html",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REQUEST_SCHEME": "https",
    "HTTPS": "on",
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SERVER_SOFTWARE": "nginx/1.22.1",
    "REMOTE_ADDR": "203.0.113.57",
    "REMOTE_PORT": "51234",
    "SERVER_ADDR": "192.0.2.10",
    "SERVER_PORT": "443",
    "SERVER_NAME": "www.example.org",
    "REDIRECT_STATUS": "200",
    "SCRIPT_FILENAME": "/var/www/html/shop/items",
    "HTTP_HOST": "www.example.org",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) "
                       "Gecko/20100101 Firefox/115.0",
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,"
                   "image/avif,image/webp,*/*;q=0.8",
    "HTTP_ACCEPT_LANGUAGE": "en-US,en;q=0.5",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
    "HTTP_COOKIE": "session=4f8a1c2e9b7d4a6f8c3e5d7b9a1f2c4e; theme=dark; "
                   "lang=en; _ga=GA1.2.1234567890.1234567890",
    "HTTP_REFERER": "https://www.example.org/shop/",
}


def read_exactly(stream, n):
    data = stream.read(n)
    if len(data) != n:
        raise ConnectionError("the connection ended within an answer")
    return data


def records(sock):
    """Yields (type, content) up to END_REQUEST."""
    with sock.makefile("rb", 128 * KIB) as stream:
        kind = None
        while kind != END:
            _, kind, _, length, padding = struct.unpack(
                ">BBHHBx", read_exactly(stream, 8))
            yield kind, read_exactly(stream, length + padding)[:length]


def answer(sock, pause=None):
    """The body's length and its first bytes; pause is slept per MiB."""
    size, first, due = 0, b"", MIB
    for kind, content in records(sock):
        if kind == STDOUT:
            size += len(content)
            if len(first) < KIB:
                first += content
        elif kind == END and content[4] != 0:
            raise ConnectionError("END_REQUEST tells a failure")
        if pause and size >= due:
            time.sleep(pause)
            due += MIB
    head, _, body = first.partition(b"\r\n\r\n")
    return size - len(head) - 4, body


def say_hello(sock, flags=0):
    sock.sendall(request("/hello", flags) + record(STDIN))
    if answer(sock) != (6, b"Hello\n"):
        raise ConnectionError("not the answer that was asked for")


# ---- requests as nginx makes them ----

def ask(uri, ids=(1,)):
    """The bytes of a request under each id."""
    return b"".join(
        begin(KEEP, i) + params({**NGINX_PARAMS, "REQUEST_URI": uri}, i)
        + record(STDIN, request_id=i) for i in ids)


def answers(sock, ids=(1,)):
    """The bodies that come back, by id."""
    texts = {i: b"" for i in ids}
    left = len(texts)
    with sock.makefile("rb", 64 * KIB) as stream:
        while left > 0:
            _, kind, i, length, padding = struct.unpack(
                ">BBHHBx", read_exactly(stream, 8))
            content = read_exactly(stream, length + padding)[:length]
            if kind == STDOUT:
                texts[i] += content
            elif kind == END and content[4] == 0:
                left -= 1
            else:
                raise ConnectionError(f"{content!r} of the type {kind}")
    return {i: text.partition(b"\r\n\r\n")[2].decode()
            for i, text in texts.items()}


def call(sock, uri):
    """One request; the words of its answer."""
    sock.sendall(ask(uri))
    text = answers(sock)[1]
    if not text or "Error" in text:
        raise ConnectionError(f"{uri} failed: {text!r}")
    return text.split()
