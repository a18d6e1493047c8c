"""A name server on loopback, UDP and TCP, that says what a test wants and
counts what it is asked.

    with DnsServer({"www.test": ["192.0.2.1", "2001:db8::1"]}) as dns:
        gateway("...", "--resolver=" + dns.address)
        assert dns.asked("www.test", A) == 1

A zone maps a name to a list of records: addresses; ("CNAME", name); or one
word of these that says how the server behaves:

    "NXDOMAIN"  "SERVFAIL"  "REFUSED"     an answer of that kind
    "SILENT"                              no answer
    "TRUNCATED"                           over UDP; the addresses over TCP
    "GARBAGE"                             bytes that are no answer
    "HELD"                                no answer before release(name)

What is not in the zone is NXDOMAIN.

SPDX-License-Identifier: MIT
"""
import random
import socket
import struct
import threading

from support.gateway import free_port, wait_until

A, AAAA, CNAME = 1, 28, 5
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
WORDS = {"NXDOMAIN": NXDOMAIN, "SERVFAIL": SERVFAIL, "REFUSED": REFUSED}


def read_name(message, at):
    """A question's name, which is not compressed, and where it ends."""
    labels = []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels), at + 1


def name_bytes(name):
    labels = name.rstrip(".").split(".")
    return b"".join(bytes([len(label)]) + label.encode()
                    for label in labels) + b"\0"


class DnsServer:
    def __init__(self, zone=None, ttl=300, host="127.0.0.1"):
        self.zone, self.ttl, self.host = dict(zone or {}), ttl, host
        self.queries = []       # (name, type, "udp" or "tcp", id)
        self.held = {}          # name: answers to be sent
        self.lock = threading.Lock()
        self.threads, self.ended = [], False

    def __enter__(self):
        self._bind()
        for loop in self._serve_udp, self._serve_tcp:
            thread = threading.Thread(target=loop, daemon=True)
            thread.start()
            self.threads.append(thread)
        return self

    def _bind(self):
        """The same port for both."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        for _ in range(100):
            self.port = free_port(self.host)
            self.udp = socket.socket(family, socket.SOCK_DGRAM)
            self.tcp = socket.socket(family, socket.SOCK_STREAM)
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self.udp.bind((self.host, self.port))
                self.tcp.bind((self.host, self.port))
                self.tcp.listen(16)
                return
            except OSError:
                self.udp.close()
                self.tcp.close()
        raise AssertionError("no port that is free for UDP and TCP")

    def __exit__(self, *_):
        self.ended = True
        with socket.socket(self.udp.family, socket.SOCK_DGRAM) as wake:
            wake.sendto(b"", (self.host, self.port))
        with socket.socket(self.tcp.family) as wake:
            wake.connect((self.host, self.port))
        for thread in self.threads:
            thread.join(10)
        self.udp.close()
        self.tcp.close()

    @property
    def address(self):
        """For --resolver."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def asked(self, name, kind=None, over=None):
        """How often it was asked for a name."""
        with self.lock:
            return sum(query[0] == name and kind in (None, query[1])
                       and over in (None, query[2])
                       for query in self.queries)

    def ids(self):
        """The ids of the queries for each name: a query that is repeated for
        want of an answer keeps its own."""
        found = {}
        with self.lock:
            for name, _, _, id in self.queries:
                found.setdefault(name, set()).add(id)
        return found

    def wait_asked(self, name, times=1, kind=None):
        wait_until(lambda: self.asked(name, kind) >= times,
                   f"{times} queries for {name}")

    def release(self, name, records):
        """Answers what was held; from now on the name has these records."""
        with self.lock:
            self.zone[name] = records
            held = self.held.pop(name, [])
        for query, send in held:
            send(self._answer(query, "udp"))

    # answers

    def _answer(self, query, over):
        """The answer's bytes, or None."""
        name, end = read_name(query, 12)
        kind = struct.unpack(">H", query[end:end + 2])[0]
        question = query[12:end + 4]
        records = self.zone.get(name.lower(), ["NXDOMAIN"])
        word = records[0] if records else None
        if word == "SILENT":
            return None
        if word == "GARBAGE":
            return query[:2] + bytes(random.randrange(256)
                                     for _ in range(random.randrange(200)))
        code, flags, answers = WORDS.get(word, NOERROR), 0x8180, []
        if word == "TRUNCATED" and over == "udp":
            flags |= 0x0200
        elif code == NOERROR:
            answers = self._records(name, kind)
        return (query[:2] + struct.pack(">HHHHH", flags | code, 1,
                                        len(answers), 0, 0)
                + question + b"".join(answers))

    def _records(self, name, kind):
        out = []
        for record in self.zone.get(name.lower(), []):
            if isinstance(record, tuple):
                out.append(self._record(name, CNAME, name_bytes(record[1])))
                out += self._records(record[1], kind)
            elif record in ("TRUNCATED", *WORDS):
                pass
            elif kind == (AAAA if ":" in record else A):
                family = socket.AF_INET6 if kind == AAAA else socket.AF_INET
                out.append(self._record(name, kind,
                                        socket.inet_pton(family, record)))
        return out

    def _record(self, name, kind, data):
        return (name_bytes(name) + struct.pack(">HHIH", kind, 1, self.ttl,
                                               len(data)) + data)

    def _note(self, query, over):
        name, end = read_name(query, 12)
        kind = struct.unpack(">H", query[end:end + 2])[0]
        with self.lock:
            self.queries.append((name.lower(), kind, over, query[:2]))

    # sockets

    def _serve_udp(self):
        while True:
            query, peer = self.udp.recvfrom(4096)
            if self.ended:
                return
            self._note(query, "udp")
            name = read_name(query, 12)[0].lower()

            def send(answer, peer=peer):
                if answer is not None:
                    self.udp.sendto(answer, peer)
            with self.lock:
                if self.zone.get(name) == ["HELD"]:
                    self.held.setdefault(name, []).append((query, send))
                    continue
            send(self._answer(query, "udp"))

    def _serve_tcp(self):
        while True:
            conn, _ = self.tcp.accept()
            with conn:
                if self.ended:
                    return
                conn.settimeout(10)
                stream = conn.makefile("rb")
                while True:
                    try:
                        head = stream.read(2)
                        if len(head) < 2:
                            break
                        query = stream.read(struct.unpack(">H", head)[0])
                    except OSError:
                        break
                    self._note(query, "tcp")
                    answer = self._answer(query, "tcp")
                    if answer is not None:
                        conn.sendall(struct.pack(">H", len(answer)) + answer)
