"""An HTTP/1.1 client made for tests: it sends and receives at the same time,
leaves when it likes, and takes no answer whose end it cannot be sure of.

    with Connection(address) as http:
        http.send("POST", "/echo", body=b"...")
        answer = http.answer().read()

request() is that in one call; burst() sends many at once.

SPDX-License-Identifier: MIT
"""
import asyncio
import io
import socket
import threading

DEADLINE = 60  # seconds until a wait counts as failed: never a normal duration
PIECE = 64 * 1024


class BadAnswer(AssertionError):
    """What the server sent is not a whole HTTP answer."""


def request_head(method, target, headers, length, chunked, close=False):
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    elif length is not None:
        lines.append(f"Content-Length: {length}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read_line(reader):
    line = reader.readline(256 * 1024)
    if not line.endswith(b"\r\n"):
        raise BadAnswer(f"a line without its end: {line[-80:]!r}")
    return line[:-2]


class Body(io.RawIOBase):
    """The body of one answer, as it arrives; its end is checked."""

    def __init__(self, reader, length=None, chunked=False):
        self.reader, self.left, self.chunked = reader, length, chunked
        if chunked:
            self.left = 0
        self.ended = length == 0

    def readable(self):
        return True

    def readinto(self, buffer):
        if self.ended:
            return 0
        if self.chunked and self.left == 0:
            self.left = int(read_line(self.reader).partition(b";")[0], 16)
            if self.left == 0:
                while read_line(self.reader):
                    pass
                self.ended = True
                return 0
        want = len(buffer) if self.left is None else min(len(buffer),
                                                         self.left)
        data = self.reader.read1(want)
        buffer[:len(data)] = data
        if not data:
            if self.left is not None:
                raise BadAnswer(f"the body ends {self.left} bytes too early")
            self.ended = True
        elif self.left is not None:
            self.left -= len(data)
            if self.left == 0 and self.chunked:
                if read_line(self.reader):
                    raise BadAnswer("a chunk is longer than it says")
            elif self.left == 0:
                self.ended = True
        return len(data)


class Answer:
    """status, reason, headers (pairs, names in lower case), stream (the body as
    it arrives), body (all of it, once read() was called)."""

    def __init__(self, reader, method):
        version, _, rest = read_line(reader).partition(b" ")
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise BadAnswer(f"no status line: {version + b' ' + rest!r}")
        status, _, reason = rest.partition(b" ")
        self.status, self.reason = int(status), reason.decode("latin-1")
        self.headers = []
        while line := read_line(reader):
            name, colon, value = line.partition(b":")
            if not colon:
                raise BadAnswer(f"not a header: {line!r}")
            self.headers.append((name.decode("latin-1").lower(),
                                 value.strip().decode("latin-1")))
        chunked = self.header("transfer-encoding") == "chunked"
        length = self.header("content-length")
        if method == "HEAD" or self.status in (204, 304):
            chunked, length = False, 0
        self.stream = io.BufferedReader(
            Body(reader, None if length is None else int(length), chunked))
        self.body = None

    def header(self, name, default=None):
        """A header's value; several are joined by commas."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else default

    def read(self):
        """Waits for the whole body; the answer."""
        self.body = self.stream.read()
        return self

    def __repr__(self):
        body = self.body and self.body[:1000]
        return f"<{self.status} {self.reason} {self.headers} {body!r}>"


def read_answer(reader, method="GET"):
    """The next final answer: a 100 before it is skipped."""
    while True:
        answer = Answer(reader, method)
        if answer.status != 100:
            return answer


class Connection:
    """One connection to the server at (host, port)."""

    def __init__(self, address, timeout=DEADLINE):
        self.sock = socket.create_connection(address, timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.sock.makefile("rb", PIECE)
        self.sender = None
        self.unsent = None  # the error that sending the body ended with
        self.method = "GET"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # ends a sender, too
        except OSError:
            pass
        if self.sender is not None:
            self.sender.join()
        self.reader.close()
        self.sock.close()

    def send(self, method, target, headers=(), body=None, chunked=False,
             close=False):
        """Sends a request.  The body is bytes, or an iterable of them (then
        chunked must be true); it goes out beside what the caller does next."""
        self.method = method
        length = None if body is None or chunked else len(body)
        head = request_head(method, target, headers, length, chunked, close)
        if not body and not chunked:
            self.sock.sendall(head)
            return
        self.sender = threading.Thread(
            target=self._send, args=(head, body, chunked), daemon=True)
        self.sender.start()

    def _send(self, head, body, chunked):
        try:
            self.sock.sendall(head)
            if not chunked:
                self.sock.sendall(body)
                return
            for piece in body:
                self.sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.sock.sendall(b"0\r\n\r\n")
        except OSError as error:
            self.unsent = error

    def answer(self):
        """The answer's head; its body is read when asked for."""
        return read_answer(self.reader, self.method)

    def expect_end(self):
        """Fails unless the server closes without sending more."""
        more = self.reader.read(1000)
        if more:
            raise BadAnswer(f"bytes after the answer: {more!r}")


def request(address, method, target, headers=(), body=None, chunked=False):
    """One request on its own connection; the answer with all of its body, and
    nothing after it."""
    with Connection(address) as http:
        http.send(method, target, headers, body, chunked, close=True)
        answer = http.answer().read()
        http.expect_end()
        return answer


def cut(data, size):
    return [data[i:i + size] for i in range(0, len(data), size)]


def burst(address, targets, timeout=4 * DEADLINE):
    """GETs all targets at once, each on its own connection; the answers."""
    async def one(target):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request_head("GET", target, (), None, False, close=True))
        raw = await reader.read()
        writer.close()
        buffered = io.BufferedReader(io.BytesIO(raw))
        answer = read_answer(buffered).read()
        assert not buffered.read(), "bytes after the answer"
        return answer

    async def everything():
        return await asyncio.wait_for(
            asyncio.gather(*map(one, targets)), timeout)

    return asyncio.run(everything())
