"""Peers of the sockets of scripts, and handlers that talk to them.

SPDX-License-Identifier: MIT
"""
import os
import re
import socket
import struct

MIB = 1 << 20


class Peer:
    """A listener, and the ends of connections that it has accepted."""

    def __init__(self, address, backlog=16):
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.name = f"unix:{address}"
            self.there = repr(self.name)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self.sock = socket.socket(family)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(address)
        self.sock.listen(backlog)
        self.sock.settimeout(30)
        if not isinstance(address, str):
            host, self.port = self.sock.getsockname()[:2]
            self.name = (f"[{host}]" if ":" in host else host) + \
                f":{self.port}"
            self.there = f"{host!r}, {self.port}"
        self.open = []

    def accept(self):
        sock, _ = self.sock.accept()
        sock.settimeout(30)
        self.open.append(sock)
        return sock

    def fill(self):
        """Connections that nobody accepts: others wait for the queue."""
        address = self.sock.getsockname()
        for _ in range(2):
            sock = socket.socket(self.sock.family)
            sock.setblocking(False)
            try:
                sock.connect(address)
            except BlockingIOError:
                pass
            self.open.append(sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in [self.sock, *self.open]:
            sock.close()


def reset(sock):
    """Closes it with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack("ii", 1, 0))
    sock.close()


# 16 MiB, more than the kernel takes, made of long pieces: that is quick.
BIG = "('x'):rep(4096):rep(4096)"


LISTEN = ("local server <close> = fcgi.tcp() assert(server:bind('127.0.0.1', 0"
          ") == 1 and server:listen() == 1) local host, port = "
          "server:getsockname() ")


class Run:
    """A handler under way, whose code sees sock, connected to the peer.  MARK
    in it writes a line that marked() waits for; BIG is 16 MiB."""

    def __init__(self, lua, peer, code, connects=True):
        self.lua, self.conn = lua, lua.connect()
        self.mark = f"marked by {id(self)} of {peer.name}"
        code = code.replace("BIG", BIG).replace(
            "MARK", f"fcgi.log('notice', '{self.mark}')")
        head = (f"local sock <close> = assert(fcgi.connect '{peer.name}') "
                if connects else f"local addr = '{peer.name}' ")
        lua.start(self.conn, 1, head + code)
        self.sock = peer.accept() if connects else None

    def marked(self):
        self.lua.gateway.wait_log(re.escape(self.mark))

    def end(self):
        """What it answers."""
        with self.conn:
            response = self.conn.collect(1)
        assert response.status == 200, response
        return response.text


def dumped(code):
    return f"return 200, {{}}, dump({code})"


def fds(gateway):
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))
