"""A server for tests of clients: it speaks lines, and knows its connections.

    with Lines() as server:
        # a client sends "id\\n" and gets "1\\n", being the first that came
        server.tell(1, b"unasked")
        server.hang_up(1)
        server.wait_for({2, 3})  # until these and no others are connected

Lines that it answers: "id"; "say TEXT" with the text; "bye", and then it hangs
up.

SPDX-License-Identifier: MIT
"""
import selectors
import socket
import threading

from support.gateway import wait_until


class Lines:
    def __init__(self, address=("127.0.0.1", 0), family=socket.AF_INET):
        self.listener = socket.socket(family)
        self.listener.bind(address)
        self.listener.listen(512)
        self.listener.setblocking(False)
        self.lock = threading.Lock()
        self.conns = {}         # id -> socket
        self.count = 0          # that ever came
        self.wake, self.waker = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.selector.register(self.wake, selectors.EVENT_READ, "wake")
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.waker.close()
        self.thread.join()
        with self.lock:
            for conn in self.conns.values():
                conn.close()
        for sock in (self.listener, self.wake):
            sock.close()
        self.selector.close()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    # in its thread

    def _run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data == "wake":
                    return
                with self.lock:
                    if key.data is None:
                        self._accept()
                    else:
                        self._read(key.data)

    def _accept(self):
        try:
            conn, _ = self.listener.accept()
        except BlockingIOError:
            return
        self.count += 1
        self.conns[self.count] = conn
        self.selector.register(conn, selectors.EVENT_READ, self.count)

    def _read(self, id):
        conn = self.conns.get(id)
        if conn is None:
            return
        try:
            lines = conn.recv(65536).decode().splitlines()
        except ConnectionResetError:
            lines = []
        if not lines:
            self._close(id)
        for line in lines:
            word, _, text = line.partition(" ")
            if word == "id":
                conn.sendall(b"%d\n" % id)
            elif word == "say":
                conn.sendall(text.encode() + b"\n")
            elif word == "bye":
                conn.sendall(b"bye\n")
                self._close(id)

    def _close(self, id):
        conn = self.conns.pop(id)
        self.selector.unregister(conn)
        conn.close()

    # for the test

    def tell(self, id, data):
        with self.lock:
            self.conns[id].sendall(data)

    def hang_up(self, *ids):
        with self.lock:
            for id in ids:
                self._close(id)

    def ids(self):
        """Of those that are connected."""
        with self.lock:
            return set(self.conns)

    def wait_for(self, ids):
        wait_until(lambda: self.ids() == ids, f"connections {ids}")
