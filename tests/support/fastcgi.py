"""A FastCGI client made for tests: it can say everything, right or wrong, and
checks all it hears against the specification (FastCGI 1.0, sections 3 to 6).

Three layers, each usable alone: functions that make bytes (record, stream,
begin_body, encode_params, request_bytes), a Connection that sends them and
reads records back, and request() for one request on its own connection.

SPDX-License-Identifier: MIT
"""
import fcntl
import re
import select
import socket
import struct
import termios
import time
from dataclasses import dataclass, field

(BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES,
 GET_VALUES_RESULT, UNKNOWN_TYPE) = range(1, 12)
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)
KEEP_CONN = 1

DEADLINE = 20  # seconds until a wait counts as failed: never a normal duration
MAX_CONTENT = 65535
HEADER = struct.Struct(">BBHHBB")
# A head line as the gateway is to send it: a token, ": ", no control bytes.
NORMAL = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:( [^\0-\x08\n-\x1f\x7f]*)?")


class ProtocolError(AssertionError):
    """The gateway sent what the specification does not allow."""


def as_bytes(value):
    """Text as UTF-8, numbers in decimal, bytes as they are."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int):
        return b"%d" % value
    return bytes(value)


# --- making bytes ---------------------------------------------------------

@dataclass(frozen=True)
class Record:
    type: int
    id: int
    content: bytes = b""
    padding: bytes = b""
    version: int = 1
    reserved: int = 0

    def encode(self):
        return HEADER.pack(self.version, self.type, self.id,
                           len(self.content), len(self.padding),
                           self.reserved) + self.content + self.padding


def as_padding(padding):
    return bytes(padding) if isinstance(padding, int) else padding


def record(type, id=0, content=b"", *, padding=b"", version=1, reserved=0):
    """One record; padding is a number of zero bytes, or the bytes."""
    return Record(type, id, as_bytes(content), as_padding(padding), version,
                  reserved).encode()


def pieces(content, cut):
    """Cuts content into pieces: of `cut` bytes each, or at the offsets in the
    list `cut`."""
    if isinstance(cut, int):
        return [content[at:at + cut] for at in range(0, len(content), cut)]
    edges = [0, *cut, len(content)]
    return [content[a:b] for a, b in zip(edges, edges[1:]) if a < b]


def stream(type, id, content=b"", *, cut=MAX_CONTENT, padding=b"", end=True):
    """A stream as records: its content cut as pieces() does, then, if end, the
    empty record that closes it."""
    parts = pieces(as_bytes(content), cut)
    if end:
        parts.append(b"")
    return b"".join(record(type, id, part, padding=padding) for part in parts)


def begin_body(role=RESPONDER, flags=0, reserved=bytes(5)):
    return struct.pack(">HB", role, flags) + reserved


def encode_length(n, long=False):
    if n < 128 and not long:
        return bytes([n])
    return struct.pack(">I", n | 0x80000000)


def encode_pair(name, value, long=False):
    """One name-value pair; long forces four-byte lengths (or is a pair of
    booleans: for the name, for the value)."""
    name, value = as_bytes(name), as_bytes(value)
    long_name, long_value = (long, long) if isinstance(long, bool) else long
    return (encode_length(len(name), long_name)
            + encode_length(len(value), long_value) + name + value)


def encode_params(pairs, long=False):
    """A dict, a list of pairs, or bytes that are already encoded."""
    if isinstance(pairs, (bytes, bytearray)):
        return bytes(pairs)
    if hasattr(pairs, "items"):
        pairs = pairs.items()
    return b"".join(encode_pair(name, value, long) for name, value in pairs)


def decode_params(data):
    """The pairs in data; raises ProtocolError where they are malformed."""
    pairs, at = [], 0

    def take(n):
        nonlocal at
        if len(data) - at < n:
            raise ProtocolError("name-value pairs end too early")
        at += n
        return data[at - n:at]

    def take_length():
        first = take(1)
        if first[0] < 128:
            return first[0]
        return struct.unpack(">I", first + take(3))[0] & 0x7fffffff

    while at < len(data):
        name_len = take_length()
        value_len = take_length()
        name = bytes(take(name_len))
        pairs.append((name, bytes(take(value_len))))
    return pairs


def default_params(params=None, body=b""):
    """What a web server sends for `params`: given names win, None removes."""
    merged = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "tests/1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "192.0.2.7",
        "REQUEST_METHOD": "POST" if body else "GET",
        "SCRIPT_NAME": "/app",
        "REQUEST_URI": "/app",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)) if body else "",
    }
    merged.update(params or {})
    return {name: value for name, value in merged.items()
            if value is not None}


def request_bytes(id=1, params=None, body=b"", *, role=RESPONDER, flags=0,
                  data=None, cut=MAX_CONTENT, params_cut=MAX_CONTENT,
                  padding=b"", long=False, defaults=True, end=True):
    """A whole request.  A dict of params is laid over default_params unless
    defaults is false; a list of pairs or bytes is sent as it is.  An
    authorizer gets no STDIN; `data` is a filter's.  end=False leaves the last
    stream open."""
    body = as_bytes(body)
    if defaults and (params is None or hasattr(params, "items")):
        params = default_params(params, body)
    out = record(BEGIN, id, begin_body(role, flags), padding=padding)
    out += stream(PARAMS, id, encode_params(params or {}, long),
                  cut=params_cut, padding=padding)
    if role != AUTHORIZER:
        out += stream(STDIN, id, body, cut=cut, padding=padding,
                      end=end or data is not None)
    if data is not None:
        out += stream(DATA, id, data, cut=cut, padding=padding, end=end)
    return out


# --- what comes back ------------------------------------------------------

@dataclass
class Response:
    """What one id received.  Feed it records with add(): it checks their order
    (streams end once, nothing follows END_REQUEST)."""
    id: int
    raw: bytearray = field(default_factory=bytearray)    # STDOUT
    stderr: bytearray = field(default_factory=bytearray)
    records: list = field(default_factory=list)
    stdout_ended: bool = False
    stderr_ended: bool = False
    app_status: int = None
    protocol_status: int = None

    @property
    def ended(self):
        return self.protocol_status is not None

    def add(self, rec):
        if self.ended:
            raise ProtocolError(f"record after END_REQUEST: {rec}")
        self.records.append(rec)
        if rec.type == STDOUT:
            if self.stdout_ended:
                raise ProtocolError("STDOUT after its end")
            self.raw += rec.content
            self.stdout_ended = not rec.content
        elif rec.type == STDERR:
            if self.stderr_ended:
                raise ProtocolError("STDERR after its end")
            self.stderr += rec.content
            self.stderr_ended = not rec.content
        elif rec.type == END:
            if len(rec.content) != 8 or rec.content[5:] != bytes(3):
                raise ProtocolError(f"bad END_REQUEST: {rec.content!r}")
            if self.raw and not self.stdout_ended:
                raise ProtocolError("END_REQUEST before the end of STDOUT")
            if self.stderr and not self.stderr_ended:
                raise ProtocolError("END_REQUEST before the end of STDERR")
            self.app_status, self.protocol_status = struct.unpack(
                ">IB", rec.content[:5])
        else:
            raise ProtocolError(f"unexpected record: {rec}")

    def check_complete(self):
        """Asserts a normal end: both streams closed, REQUEST_COMPLETE."""
        assert self.protocol_status == REQUEST_COMPLETE, self
        assert self.stdout_ended, "STDOUT has no end"

    @property
    def raw_head(self):
        """The head with its empty line; b"" if there is none."""
        head, sep, _ = bytes(self.raw).partition(b"\r\n\r\n")
        return head + sep if sep else b""

    @property
    def head(self):
        """The head as a list of (name, value) in order, as text.  Raises if it
        is not normalised: CRLF, "Name: value"."""
        if not self.raw_head:
            raise ProtocolError(f"no head in {bytes(self.raw[:200])!r}")
        fields = []
        for line in self.raw_head[:-4].decode("latin-1").split("\r\n"):
            name, _, value = line.partition(":")
            if not NORMAL.fullmatch(line):
                raise ProtocolError(f"head line not normal: {line!r}")
            fields.append((name, value[1:]))
        return fields

    @property
    def headers(self):
        """Lower-case name -> first value."""
        found = {}
        for name, value in self.head:
            found.setdefault(name.lower(), value)
        return found

    def header_all(self, name):
        return [v for n, v in self.head if n.lower() == name.lower()]

    @property
    def status(self):
        return int(self.headers.get("status", "200")[:3])

    @property
    def body(self):
        return bytes(self.raw[len(self.raw_head):])

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def contents(self, type):
        """The contents of the records of one type, the ending one too."""
        return [rec.content for rec in self.records if rec.type == type]

    def __repr__(self):
        return (f"<Response id={self.id} app={self.app_status} "
                f"protocol={self.protocol_status} "
                f"stdout={len(self.raw)} {bytes(self.raw[:300])!r} "
                f"stderr={bytes(self.stderr[:300])!r}>")


# --- talking --------------------------------------------------------------

def connect(address, timeout=DEADLINE, rcvbuf=None, source=None):
    """A connected socket; address is a path or (host, port)."""
    family = socket.AF_UNIX
    if not isinstance(address, (str, bytes)):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            sock.bind(source)
        sock.settimeout(timeout)
        sock.connect(address)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


class Connection:
    """One connection and the requests on it.  `begun` are the ids that may get
    records; others raise ProtocolError.  Use as a context manager."""

    def __init__(self, address, timeout=DEADLINE, rcvbuf=None, source=None):
        self.timeout = timeout
        self.sock = connect(address, timeout, rcvbuf, source)
        self.buffer = bytearray()
        self.at = 0            # how much of the buffer has been decoded
        self.eof = False
        self.begun = {}        # id -> Response still open
        self.done = {}         # id -> Responses that have ended, oldest first
        self.management = []   # management records nobody has asked for yet

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def shutdown(self, how=socket.SHUT_WR):
        self.sock.shutdown(how)

    def reset(self):
        """Closes a TCP connection with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.sock.close()

    # sending

    def send_raw(self, data):
        """Sends all, without reading meanwhile."""
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    def wait_taken(self):
        """Until the gateway has read all that was sent (unix sockets)."""
        end = time.monotonic() + self.timeout
        while struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ,
                                             bytes(4)))[0]:
            if time.monotonic() > end:
                raise TimeoutError("the gateway does not read")
            time.sleep(0)

    def send_parts(self, parts):
        """Sends parts so that the gateway reads each by itself (on unix
        sockets; on TCP an acknowledgement is all we can see)."""
        for part in parts:
            self.send_raw(part)
            self.wait_taken()

    def send_bytewise(self, data):
        self.send_parts(pieces(data, 1))

    def send_duplex(self, data):
        """Sends all and takes in whatever comes meanwhile."""
        view, end = memoryview(data), time.monotonic() + self.timeout
        self.sock.setblocking(False)
        try:
            while view:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{len(view)} bytes were not taken")
                poll = select.poll()
                poll.register(self.sock, select.POLLOUT |
                              (0 if self.eof else select.POLLIN))
                events = dict(poll.poll(left * 1000)).get(
                    self.sock.fileno(), 0)
                if events & select.POLLIN:
                    self._receive()
                if events & ~select.POLLIN:
                    try:
                        view = view[self.sock.send(view[:1 << 18]):]
                    except BlockingIOError:
                        pass
        finally:
            self.sock.settimeout(self.timeout)

    def send_until_full(self, data):
        """Sends what the socket takes without waiting; how many bytes."""
        view = memoryview(data)
        self.sock.setblocking(False)
        try:
            while view:
                try:
                    view = view[self.sock.send(view):]
                except BlockingIOError:
                    break
        finally:
            self.sock.settimeout(self.timeout)
        return len(data) - len(view)

    def expect(self, id):
        """Says that this id is active from now on."""
        self.begun[id] = Response(id)

    def begin(self, id=1, role=RESPONDER, flags=KEEP_CONN, **record_args):
        self.expect(id)
        self.send_raw(record(BEGIN, id, begin_body(role, flags),
                             **record_args))

    def params(self, id=1, pairs=None, *, cut=MAX_CONTENT, long=False,
               padding=b"", end=True):
        """Params as they are (see default_params for a web server's)."""
        data = encode_params({} if pairs is None else pairs, long)
        self.send_raw(stream(PARAMS, id, data, cut=cut, padding=padding,
                             end=end))

    def stdin(self, id=1, body=b"", *, cut=MAX_CONTENT, padding=b"",
              end=True):
        self.send_raw(stream(STDIN, id, body, cut=cut, padding=padding,
                             end=end))

    def data(self, id=1, body=b"", *, cut=MAX_CONTENT, padding=b"", end=True):
        self.send_raw(stream(DATA, id, body, cut=cut, padding=padding,
                             end=end))

    def abort(self, id=1):
        self.send_raw(record(ABORT, id))

    def start(self, id=1, params=None, body=b"", *, flags=KEEP_CONN,
              duplex=False, **args):
        """Sends a whole request (see request_bytes), reads nothing."""
        self.expect(id)
        out = request_bytes(id, params, body, flags=flags, **args)
        (self.send_duplex if duplex else self.send_raw)(out)

    def request(self, id=1, params=None, body=b"", **args):
        """Sends a whole request on the kept connection; its Response."""
        self.start(id, params, body, duplex=True, **args)
        response = self.collect(id)
        response.check_complete()
        return response

    def get_values(self, names=("FCGI_MAX_CONNS", "FCGI_MAX_REQS",
                                "FCGI_MPXS_CONNS"), **record_args):
        """Asks, waits for the answer: a dict of bytes."""
        self.ask_values(names, **record_args)
        rec = self.read_management()
        assert rec.type == GET_VALUES_RESULT, rec
        return dict(decode_params(rec.content))

    def ask_values(self, names=(), **record_args):
        pairs = encode_params([(name, b"") for name in names])
        self.send_raw(record(GET_VALUES, 0, pairs, **record_args))

    # receiving

    def _receive(self):
        try:
            got = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        if got:
            self.buffer += got
        else:
            self.eof = True

    def _decode(self):
        """The next whole record in the buffer, or None."""
        have = len(self.buffer) - self.at
        if have < HEADER.size:
            return None
        version, type, id, content_len, padding_len, reserved = \
            HEADER.unpack_from(self.buffer, self.at)
        if version != 1 or reserved != 0:
            raise ProtocolError(f"bad record header: version {version}, "
                                f"type {type}, reserved {reserved}")
        if have < HEADER.size + content_len + padding_len:
            return None
        begin = self.at + HEADER.size
        middle = begin + content_len
        self.at = middle + padding_len
        content = bytes(self.buffer[begin:middle])
        padding = bytes(self.buffer[middle:self.at])
        if any(padding):
            raise ProtocolError("padding is not zeroed")
        if self.at > 1 << 20:
            del self.buffer[:self.at]
            self.at = 0
        return Record(type, id, content, padding)

    def read_record(self, timeout=None):
        """The next record, or None at the end of file.  Raises TimeoutError
        when none comes, ProtocolError when the end cuts one."""
        end = time.monotonic() + (self.timeout if timeout is None
                                  else timeout)
        while True:
            rec = self._decode()
            if rec is not None:
                return rec
            if self.eof:
                if self.at < len(self.buffer):
                    raise ProtocolError("the connection ended in a record")
                return None
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("no record came")
            self.sock.settimeout(left)
            self._receive()

    def step(self, timeout=None):
        """Reads one record and files it; that record, or None at the end."""
        rec = self.read_record(timeout)
        if rec is None:
            return None
        if rec.type in (GET_VALUES_RESULT, UNKNOWN_TYPE):
            if rec.id != 0:
                raise ProtocolError(f"management record with an id: {rec}")
            self.management.append(rec)
            return rec
        response = self.begun.get(rec.id)
        if response is None:
            raise ProtocolError(f"record of an inactive id: {rec}")
        response.add(rec)
        if response.ended:
            self.done.setdefault(rec.id, []).append(self.begun.pop(rec.id))
        return rec

    def collect(self, id=1, timeout=None):
        """Reads until id has ended; its Response (the oldest not yet taken).
        Records of other ids are kept for their own collect()."""
        end = time.monotonic() + (self.timeout if timeout is None
                                  else timeout)
        while not self.done.get(id):
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"id {id} did not end: "
                                   f"{self.begun.get(id)}")
            if self.step(left) is None:
                raise ProtocolError(f"connection closed before id {id} "
                                    f"ended: {self.begun.get(id)}")
        return self.done[id].pop(0)

    def collect_all(self, ids, timeout=None):
        return {id: self.collect(id, timeout) for id in ids}

    def wait_stdout(self, id=1, at_least=1, timeout=None):
        """Reads until id has sent so many bytes; its Response so far."""
        response = self.begun[id]
        while len(response.raw) < at_least:
            if response.ended or self.step(timeout) is None:
                raise ProtocolError(f"ended early: {response}")
        return response

    def read_management(self, timeout=None):
        """The next management record (others are filed)."""
        while not self.management:
            if self.step(timeout) is None:
                raise ProtocolError("connection closed")
        return self.management.pop(0)

    def barrier(self):
        """The records that come before the answer to a GET_VALUES sent now:
        what the gateway had to say to all that was sent before."""
        self.ask_values()
        before = []
        while True:
            rec = self.step()
            if rec is None:
                raise ProtocolError("connection closed")
            if rec.type == GET_VALUES_RESULT:
                self.management.remove(rec)
                return before
            before.append(rec)

    def expect_eof(self, timeout=None):
        """Asserts a clean end of file, with no record before it."""
        rec = self.read_record(timeout)
        assert rec is None, f"expected the end of file, got {rec}"

    def expect_close(self, timeout=None):
        """Waits until the gateway has closed, with or without a reset; the
        records that came before."""
        before = []
        try:
            while True:
                rec = self.read_record(timeout)
                if rec is None:
                    return before
                before.append(rec)
        except (ConnectionResetError, BrokenPipeError):
            return before

    def drain(self, timeout=None):
        """Reads and drops until the end of file; the number of bytes."""
        total = len(self.buffer) - self.at
        self.buffer.clear()
        self.at = 0
        while not self.eof:
            self.sock.settimeout(self.timeout if timeout is None else timeout)
            self._receive()
            total += len(self.buffer)
            self.buffer.clear()
        return total


def request(address, params=None, body=b"", *, id=1, flags=0,
            timeout=DEADLINE, **args):
    """One request on its own connection; its Response, complete.  Without
    KEEP_CONN the gateway must close after it."""
    with Connection(address, timeout) as conn:
        conn.start(id, params, body, flags=flags, duplex=True, **args)
        response = conn.collect(id)
        response.check_complete()
        if not flags & KEEP_CONN:
            conn.expect_eof()
        return response
