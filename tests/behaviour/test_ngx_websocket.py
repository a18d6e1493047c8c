"""lua-resty-websocket as Debian has it, over fcgi.ngx: a client in a handler,
and a server that sends its frames back.

SPDX-License-Identifier: MIT
"""
import base64
import hashlib
import socket
import struct
import threading

import pytest

from support.lua import EVAL, Lua

PRELUDE = """\
require "fcgi.ngx"
client = require "nginx.websocket.client" -- so Debian calls it

function open(port, ...)
  local ws = assert(client:new { max_payload_len = 1 << 20, timeout = 20000 })
  assert(ws:connect("ws://127.0.0.1:" .. port .. "/echo", ...))
  return ws
end
"""


class Echo:
    """One connection after the other: each frame goes back, one for a close
    as one."""

    conn = None

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        try:
            self.conn.shutdown(socket.SHUT_RDWR)
        except OSError:     # it has ended by itself
            pass
        self.thread.join()

    def _run(self):
        while True:
            try:
                self.conn, _ = self.listener.accept()
            except OSError:
                return
            with self.conn, self.conn.makefile("rb") as stream:
                self._serve(self.conn, stream)

    def _serve(self, conn, stream):
        head = {}
        line = stream.readline()
        while line.strip():
            name, _, value = line.decode().partition(":")
            head[name.strip().lower()] = value.strip()
            line = stream.readline()
        key = head["sec-websocket-key"].encode() + \
            b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
        conn.sendall(("HTTP/1.1 101 Switching Protocols\r\n"
                      "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                      f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode())
        first = stream.read(1)
        while first:
            size = stream.read(1)[0]
            assert size & 0x80, "a client masks its frames"
            size &= 0x7f
            if size == 126:
                size, = struct.unpack(">H", stream.read(2))
            elif size == 127:
                size, = struct.unpack(">Q", stream.read(8))
            mask, data = stream.read(4), stream.read(size)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
            length = bytes([size]) if size < 126 else \
                struct.pack(">BH", 126, size) if size < 65536 else \
                struct.pack(">BQ", 127, size)
            conn.sendall(first + length + data)
            first = stream.read(1) if first[0] & 0xf != 8 else b""


@pytest.fixture
def echo():
    with Echo() as server:
        yield server


@pytest.fixture
def lua(shared_gateway, resty):
    return Lua(shared_gateway(PRELUDE + EVAL, *resty))


def test_frames_come_back(lua, echo):
    assert lua.text(
        f"local ws, seen = open({echo.port}), {{}} "
        "for _, size in ipairs { 0, 1, 125, 126, 4097, 70000 } do "
        "local data = ('\\0\\xff text '):rep(size // 8 + 1):sub(1, size) "
        "assert(ws:send_binary(data)) local got, kind = ws:recv_frame() "
        "assert(got == data and kind == 'binary') end "
        "ws:send_text 'hello' seen[1], seen[2] = ws:recv_frame() "
        "ws:send_ping 'p' seen[3], seen[4] = ws:recv_frame() "
        "ws:send_close(1000, 'enough') "
        "seen[5], seen[6], seen[7] = ws:recv_frame() ws:close() "
        "return 200, {}, dump(seen)") == \
        '{"hello", "text", "p", "ping", "enough", "close", 1000}'


def test_connection_is_kept(lua, echo):
    use = (f"local ws = open({echo.port}, {{ pool = 'ws{echo.port}' }}) "
           "ws:send_text 'x' local got = ws:recv_frame() "
           "return 200, {}, dump(got, ws:set_keepalive())")
    assert lua.text(use) == '"x", 1'
    assert lua.text(use) == '"x", 1'


def test_timeout(lua, echo):
    assert lua.text(
        f"local ws = open({echo.port}) ws:set_timeout(10) "
        "local data, _, err = ws:recv_frame() ws:close() "
        "return 200, {}, dump(data, err)") == \
        'nil, "failed to receive the first 2 bytes: timeout"'
