"""A storm: a client that keeps a service busy while things happen to it, and
counts and checks everything that comes back.

Each request carries a number that nobody else has, and its answer must be
exactly the one that belongs to it.  Connections are of three kinds: kept with a
request at a time, kept with several at once, and one for each request.  What
must not be:

    failed   a request without its right answer: a connection that ended or
             was refused while it was under way, wrong bytes, silence
    closed   a kept connection that the service closed between two requests

Both are excused on connections of a worker that is killed, and on no others:
who kills it (Service.kill_worker) stops it first and then looks which
connections it holds.  Such requests count as lost, and are asked again.

SPDX-License-Identifier: MIT
"""
import errno
import os
import pathlib
import random
import re
import select
import signal
import socket
import struct
import threading
import time

from support import fastcgi
from support.gateway import wait_until
from support.processes import children, is_gone, state

SCRIPT = """
local fcgi = require "fcgi"
local pieces = 5

local answers = {}

function answers.small(req, nonce) return nonce end

function answers.large(req, nonce, size) return nonce:rep(size) end

function answers.post(req) return req:body() end

function answers.nap(req, nonce, size)
  fcgi.sleep(size / 1000)
  return nonce
end

function answers.parts(req, nonce, size)
  req:set_header("Content-Length", tostring(#nonce * pieces))
  for _ = 1, pieces do
    req:write(nonce)
    req:flush()
    fcgi.sleep(size / 1000 / pieces)
  end
end

function on_request(req)
  local kind, nonce, size = req:query_string():match "^(%w+)=(%w+)=(%d+)$"
  req:set_header("Content-Type", "text/plain")
  req:set_header("X-Worker", tostring(fcgi.worker.pid))
  local body = answers[kind](req, nonce, tonumber(size))
  if body then
    req:set_header("Content-Length", tostring(#body))
    req:write(body)
  end
end
"""
IDS = 4  # requests at once on a connection that multiplexes
PATIENCE = 30  # s without an answer: it will not come
SHOWN = 20  # failures that are told in words
# kind of request: its share, and the bounds of its size (ms of naps)
MIX = {"small": (60, 0, 0), "large": (6, 100, 20000), "post": (16, 1, 8000),
       "nap": (10, 5, 250), "parts": (8, 5, 250)}


class Job:
    """A request, and what is to come back."""

    def __init__(self, number, rng):
        kinds = list(MIX)
        self.kind = rng.choices(kinds, [MIX[kind][0] for kind in kinds])[0]
        size = rng.randint(*MIX[self.kind][1:])
        self.nonce = b"%010dx" % number
        self.body = self.nonce * size if self.kind == "post" else b""
        self.expected = {"small": self.nonce, "large": self.nonce * size,
                         "post": self.body, "nap": self.nonce,
                         "parts": self.nonce * 5}[self.kind]
        self.query = f"{self.kind}={self.nonce.decode()}={size}"
        self.since = 0

    def __repr__(self):
        return f"{self.kind} {self.nonce.decode()}"


class Records:
    """FastCGI on a connection: requests to bytes, bytes to answers."""

    def encode(self, job, id, keep):
        return fastcgi.request_bytes(
            id, {"QUERY_STRING": job.query, "REQUEST_URI": "/?" + job.query},
            job.body, flags=fastcgi.KEEP_CONN if keep else 0)

    def __init__(self):
        self.got, self.answers = bytearray(), {}

    def feed(self, data):
        """Yields (id, answer) for each that is complete."""
        self.got += data
        at = 0
        while len(self.got) - at >= 8:
            kind, id, length, padding = struct.unpack_from(
                ">xBHHBx", self.got, at)
            if len(self.got) - at < 8 + length + padding:
                break
            content = self.got[at + 8:at + 8 + length]
            at += 8 + length + padding
            if kind == fastcgi.STDOUT:
                self.answers.setdefault(id, bytearray()).extend(content)
            elif kind == fastcgi.END:
                head, _, body = bytes(
                    self.answers.pop(id, b"")).partition(b"\r\n\r\n")
                sound = content[:5] == bytes(5) and b"Status" not in head
                yield id, body if sound else b"not 200: " + head
            else:
                yield id, b"a record of type %d" % kind
        del self.got[:at]

    @property
    def is_within(self):
        return bool(self.got or self.answers)


class Http:
    """The same through a web server, a request at a time."""

    def __init__(self):
        self.got = bytearray()

    def encode(self, job, id, keep):
        return (f"{'POST' if job.body else 'GET'} /?{job.query} HTTP/1.1\r\n"
                f"Host: storm\r\nContent-Length: {len(job.body)}\r\n"
                f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
                ).encode() + job.body

    def feed(self, data):
        self.got += data
        head, end, body = bytes(self.got).partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^Content-Length: (\d+)", head)
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            yield 1, b"not 200: " + head
        elif len(body) >= int(length[1]):
            self.got.clear()
            yield 1, body

    @property
    def is_within(self):
        return bool(self.got)


class Line:
    """A place for a connection after another."""

    def __init__(self, storm, kind):
        self.storm, self.kind = storm, kind
        self.ids = IDS if kind == "multi" else 1
        self.sock, self.key, self.jobs = None, None, {}
        self.out, self.wire, self.due = bytearray(), None, 0
        self.held = 0  # bytes of `out` that wait until `due`
        self.again = []  # jobs that were lost

    def open(self):
        storm = self.storm
        is_unix = isinstance(storm.address, str)
        sock = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
        if is_unix:
            self.key = os.fstat(sock.fileno()).st_ino
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.bind(("127.0.0.1", 0))
            self.key = sock.getsockname()[1]
        storm.doomed.discard(self.key)  # that was another one's
        try:
            sock.connect(storm.address)
        except OSError as error:
            sock.close()
            storm.fail(f"connect: {error}")
            self.due = time.monotonic() + 0.1
            return False
        sock.setblocking(False)
        self.sock, self.wire = sock, storm.protocol()
        storm.watch(self)
        return True

    def close(self):
        self.storm.forget(self)
        self.sock.close()
        self.sock, self.held = None, 0
        self.out.clear()

    def begin(self, now):
        """Asks for more, unless it pauses."""
        storm = self.storm
        if now < self.due or storm.stopping and not self.again:
            return
        if self.sock is None and not self.open():
            return
        free = [id for id in range(1, self.ids + 1) if id not in self.jobs]
        for id in free:
            if self.again:
                job = self.again.pop()
            elif storm.stopping:
                break
            else:
                job = storm.new_job()
            job.since = now
            self.jobs[id] = job
            self.out += self.wire.encode(job, id, self.kind != "close")
        if storm.rng.random() < 0.03 and self.out:
            # A web server that is slow: within a record, or between two.
            self.held = storm.rng.randint(1, len(self.out))
            self.due = now + storm.rng.uniform(0.01, 0.1)
        self.send()

    def send(self):
        try:
            while len(self.out) > self.held:
                sent = self.sock.send(
                    bytes(self.out[:len(self.out) - self.held]))
                del self.out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            pass  # reading tells
        self.storm.watch(self)

    def read(self, now):
        ended = None
        try:
            data = self.sock.recv(1 << 18)
            if not data:
                ended = "end of file"
        except BlockingIOError:
            return
        except OSError as error:
            data, ended = b"", errno.errorcode[error.errno]
        for id, answer in self.wire.feed(data):
            self.take(id, answer, now)
        if ended:
            self.ended(ended)

    def take(self, id, answer, now):
        storm, job = self.storm, self.jobs.pop(id, None)
        if job is None:
            storm.fail(f"an answer that nobody waits for: {answer[:80]}")
            return
        if answer != job.expected:
            storm.fail(f"{job}: a wrong answer of {len(answer)} bytes: "
                       f"{answer[:200]}")
        storm.requests += 1
        if self.kind == "close":
            return
        if not self.jobs:
            self.due = now + storm.rng.choice((0, 0, 0.002, 0.02, 0.1))

    def ended(self, how):
        storm, excused = self.storm, self.key in self.storm.doomed
        jobs = list(self.jobs.values())
        asked = self.kind == "close" and not jobs and how == "end of file"
        if jobs and excused:
            storm.lost += len(jobs)
            self.again += jobs
        elif jobs:
            storm.fail(f"{self.kind}: {how} with {jobs} under way"
                       + (" (within an answer)" if self.wire.is_within else "")
                       + (f" ({len(self.out)} bytes not sent)" if self.out
                          else ""), len(jobs))
        elif not excused and not asked:
            storm.closed += 1
            storm.note(f"{self.kind}: closed between two requests: {how}")
        self.jobs.clear()
        self.close()

    def tick(self, now):
        if self.held and now >= self.due:
            self.held = 0
            self.send()
        for job in self.jobs.values():
            if now - job.since > PATIENCE:
                self.storm.fail(f"{self.kind}: no answer to {job}",
                                len(self.jobs))
                self.jobs.clear()
                self.close()
                return
        if len(self.jobs) < self.ids and not self.held and not self.out and \
                (self.kind != "close" or self.sock is None):
            self.begin(now)


class Storm(threading.Thread):
    """The client; use it with `with`, then ask for its counts.

    address   of the service, or of a web server before it (http)
    lines     how many connections at once; a share of each kind
    """

    def __init__(self, address, lines=16, http=False, kinds=None, seed=None):
        super().__init__(daemon=True)
        self.address, self.protocol = address, Http if http else Records
        kinds = kinds or (("keep", "close") if http
                          else ("keep", "multi", "close"))
        self.seed = random.randrange(1 << 32) if seed is None else seed
        self.rng = random.Random(self.seed)
        self.requests = self.failed = self.closed = self.lost = 0
        self.notes, self.doomed, self.serial = [], set(), 0
        self.stopping, self.error = False, None
        self.epoll, self.by_fd, self.masks = select.epoll(), {}, {}
        self.lines = [Line(self, kinds[i % len(kinds)]) for i in range(lines)]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.stopping = True
        self.join()
        if self.error is not None and kind is None:
            raise self.error

    def counts(self):
        return {"requests": self.requests, "failed": self.failed,
                "closed": self.closed, "lost": self.lost}

    def new_job(self):
        self.serial += 1
        return Job(self.serial, self.rng)

    def note(self, text):
        if len(self.notes) < SHOWN:
            self.notes.append(f"{time.strftime('%H:%M:%S')} {text}")

    def fail(self, text, count=1):
        self.failed += count
        self.note(text)

    def watch(self, line):
        fd = line.sock.fileno()
        mask = select.EPOLLIN
        if len(line.out) > line.held:
            mask |= select.EPOLLOUT
        if fd not in self.by_fd:
            self.by_fd[fd] = line
            self.epoll.register(fd, mask)
        elif self.masks[fd] != mask:
            self.epoll.modify(fd, mask)
        self.masks[fd] = mask

    def forget(self, line):
        fd = line.sock.fileno()
        del self.by_fd[fd], self.masks[fd]
        self.epoll.unregister(fd)

    def run(self):
        try:
            while not self.stopping or any(line.jobs or line.again
                                           for line in self.lines):
                self.turn()
            for line in self.lines:
                if line.sock is not None:
                    line.close()
        except BaseException as error:
            self.error = error

    def turn(self):
        now = time.monotonic()
        for line in self.lines:
            line.tick(now)
        for fd, mask in self.epoll.poll(0.002):
            line = self.by_fd.get(fd)
            if line is None:
                continue
            if mask & select.EPOLLOUT:
                line.send()
            if mask & ~select.EPOLLOUT:
                line.read(now)


# --- what can happen to a service ------------------------------------------

def living_children(pid):
    try:
        return [child for child in children(pid) if not is_gone(child)]
    except FileNotFoundError:  # it has just ended
        return []


def unix_peers():
    """inode of each connected unix socket -> its peer's: sock_diag(7)."""
    connected, show_peer, peer = 1 << 1, 4, 2
    request = struct.pack("=IHHII BBHIIIII", 40, 20, 0x301, 1, 0,
                          socket.AF_UNIX, 0, 0, connected, 0, show_peer,
                          0xffffffff, 0xffffffff)
    found = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as sock:
        sock.send(request)
        while True:
            data = sock.recv(1 << 18)
            at = 0
            while at < len(data):
                size, kind = struct.unpack_from("=IH", data, at)
                if kind != 20:
                    assert kind == 3, "the kernel tells of no unix sockets"
                    return found
                inode, = struct.unpack_from("=I", data, at + 20)
                attr, end = at + 32, at + size
                while attr < end:
                    length, what = struct.unpack_from("=HH", data, attr)
                    if what == peer:
                        found[inode], = struct.unpack_from("=I", data,
                                                           attr + 4)
                    attr += length + 3 & ~3
                at += size + 3 & ~3


def tcp_peers(pid):
    """inode of each connected socket -> the peer's port."""
    found = {}
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            fields = line.split()
            found[int(fields[9])] = int(fields[2].rpartition(":")[2], 16)
    return found


def sockets(pid):
    """The inodes of those that a process has open."""
    inodes = set()
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(int(target[8:-1]))
    return inodes


class Service:
    """A gateway with workers, in whose log INFO lines are."""

    def __init__(self, gateway, workers=2, rng=random):
        self.gw, self.workers, self.rng = gateway, workers, rng

    def generation(self):
        return max(map(int, re.findall(r"generation (\d+) serves",
                                       self.gw.log())), default=0)

    def tree(self):
        """(templates, workers): the living."""
        known = {int(pid) for pid in re.findall(
            r"worker \d+ \((\d+)\) is ready", self.gw.log())}
        first = living_children(self.gw.pid)
        second = [child for pid in first for child in living_children(pid)]
        return ([pid for pid in first if pid not in known],
                [pid for pid in first + second if pid in known])

    def ready_count(self):
        return len(re.findall(r"worker \d+ \(\d+\) is ready", self.gw.log()))

    def wait_calm(self):
        """As many workers as there are to be, and one template."""
        def is_calm():
            templates, workers = self.tree()
            return len(workers) == self.workers and len(templates) == 1
        wait_until(is_calm, f"{self.workers} workers and a template")

    def peers(self):
        """inode of each connection that was accepted -> its key (see Line)."""
        return unix_peers() if isinstance(self.gw.address, str) \
            else tcp_peers(self.gw.pid)

    def connections(self, *pids):
        """The keys of those that processes hold."""
        peers, held = self.peers(), set()
        for pid in pids:
            held |= sockets(pid)
        return {peers[inode] for inode in held if inode in peers}

    def in_doubt(self, pid):
        """The keys of those that a stopped worker holds, or may be about to
        receive: that were accepted, and that no other process holds."""
        peers = self.peers()
        others = [other for pids in self.tree() for other in pids
                  if other != pid]
        held = set().union(*map(sockets, others))
        return {key for inode, key in peers.items() if inode not in held}

    def _grows(self, what, ask):
        before = what()
        ask()
        wait_until(lambda: what() > before, f"more of {what.__name__}")

    def reload(self):
        self._grows(self.generation, lambda: self.gw.signal(signal.SIGHUP))

    def upgrade(self):
        self._grows(self.generation, lambda: self.gw.signal(signal.SIGUSR2))

    def kill_template(self):
        templates, _ = self.tree()
        self._grows(self.generation,
                    lambda: os.kill(max(templates), signal.SIGKILL))

    def kill_worker(self, storm):
        """Stops it, and the supervisor, which could send it more: so it is
        known which connections may break."""
        self.wait_calm()
        pid = self.rng.choice(self.tree()[1])

        def kill():
            for stopped in (self.gw.pid, pid):
                os.kill(stopped, signal.SIGSTOP)
                wait_until(lambda: state(stopped) == "T", "a stopped process")
            # Who has just given a connection away closes it before it sleeps.
            for other in self.tree()[1]:
                wait_until(lambda: other == pid or state(other) == "S",
                           "a worker that was seen asleep")
            for _ in range(3):  # tables that change are read incompletely
                storm.doomed.update(self.in_doubt(pid))
            os.kill(pid, signal.SIGKILL)
            # Or it would be sent connections still.
            wait_until(lambda: is_gone(pid), "its end")
            os.kill(self.gw.pid, signal.SIGCONT)
        self._grows(self.ready_count, kill)

    def add_worker(self):
        self.workers += 1
        self._grows(self.ready_count, lambda: self.gw.signal(signal.SIGTTIN))

    def drop_worker(self):
        self.workers -= 1
        self.gw.signal(signal.SIGTTOU)
        self.wait_calm()
