"""Certificates and servers for tests of TLS.

    certificates = Certificates(folder)
    with Server(certificates.good.context(), serve) as server:
        connect to ("127.0.0.1", server.port)

SPDX-License-Identifier: MIT
"""
import contextlib
import datetime
import ipaddress
import socket
import ssl
import subprocess
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Certificate:
    """A key and its certificate, in files: path.crt (with the chain, if there
    is one) and path.key."""

    def __init__(self, path, certificate, key, chain=()):
        self.certificate, self.secret = certificate, key
        self.crt, self.key = f"{path}.crt", f"{path}.key"
        pem = serialization.Encoding.PEM
        with open(self.crt, "wb") as file:
            for one in (certificate, *chain):
                file.write(one.public_bytes(pem))
        with open(self.key, "wb") as file:
            file.write(key.private_bytes(
                pem, serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption()))

    def context(self):
        """For a server that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.crt, self.key)
        return context

    def hash_name(self):
        """How OpenSSL looks for it in a folder: 8 hexadecimal digits."""
        return subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", self.crt],
            capture_output=True, text=True, check=True).stdout.strip()


def make(path, subject, issuer=None, names=(), addresses=(), days=(-1, 30),
         is_authority=False, usage=None, chain=()):
    """Signed by issuer, a Certificate, or by itself.  days: from when to when,
    from now on."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.utcnow()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer.certificate.subject if issuer
                     else _name(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(is_authority, None), True))
    others = [*map(x509.DNSName, names),
              *(x509.IPAddress(ipaddress.ip_address(one))
                for one in addresses)]
    if others:
        builder = builder.add_extension(
            x509.SubjectAlternativeName(others), False)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
    certificate = builder.sign(issuer.secret if issuer else key,
                               hashes.SHA256())
    return Certificate(path, certificate, key, chain)


class Certificates:
    """Those that tests want, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        host = {"names": ["localhost", "*.shop.example"],
                "addresses": ["127.0.0.1", "::1"]}
        self.authority = make(folder / "authority", "Authority",
                              is_authority=True)
        self.stranger = make(folder / "stranger", "Stranger",
                             is_authority=True)
        old = make(folder / "old", "Old", self.authority, days=(-9, -1),
                   is_authority=True)
        middle = make(folder / "middle", "Middle", self.authority,
                      is_authority=True)
        leaf = make(folder / "leaf", "Leaf", self.authority)
        self.good = make(folder / "good", "good", self.authority, **host)
        self.chained = make(folder / "chained", "chained", middle,
                            chain=[middle.certificate], **host)
        self.bad = {
            "expired": make(folder / "expired", "expired", self.authority,
                            days=(-9, -1), **host),
            "early": make(folder / "early", "early", self.authority,
                          days=(1, 9), **host),
            "self": make(folder / "self", "self", **host),
            "unknown": make(folder / "unknown", "unknown", self.stranger,
                            **host),
            "unchained": make(folder / "unchained", "unchained", middle,
                              **host),
            "under_old": make(folder / "under_old", "under old", old,
                              chain=[old.certificate], **host),
            "under_leaf": make(folder / "under_leaf", "under leaf", leaf,
                               chain=[leaf.certificate], **host),
            "for_clients": make(folder / "for_clients", "for clients",
                                self.authority,
                                usage=ExtendedKeyUsageOID.CLIENT_AUTH,
                                **host),
            "other_host": make(folder / "other_host", "localhost",
                               self.authority, names=["other.example"]),
            "no_names": make(folder / "no_names", "localhost",
                             self.authority),
        }
        self.client = make(folder / "client", "client", self.authority,
                           usage=ExtendedKeyUsageOID.CLIENT_AUTH)


class Server:
    """A server on a free port: each connection, TLS if there is a context, is
    given to serve(connection) in a thread of its own, and closed after that.
    Errors of connections end their threads only and are in `errors`."""

    def __init__(self, context, serve, backlog=256):
        self.context, self.serve = context, serve
        self.listener = socket.create_server(("127.0.0.1", 0),
                                             backlog=backlog)
        self.port = self.listener.getsockname()[1]
        self.errors, self.open, self.threads = [], {}, []
        self.ending = False
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    def _accept(self):
        while True:
            conn = self.listener.accept()[0]
            if self.ending:
                conn.close()
                return
            conn.settimeout(60)
            thread = threading.Thread(target=self._run, args=(conn,))
            self.threads.append(thread)
            self.open[thread] = conn
            thread.start()

    def _run(self, conn):
        try:
            if self.context:
                conn = self.context.wrap_socket(
                    conn, server_side=True, do_handshake_on_connect=False)
                self.open[threading.current_thread()] = conn
                conn.do_handshake()
            self.serve(conn)
        except OSError as error:        # an ssl.SSLError is one
            self.errors.append(str(error))
        finally:
            self.open.pop(threading.current_thread())
            conn.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending = True
        socket.create_connection(("127.0.0.1", self.port), 60).close()
        self.thread.join()
        self.listener.close()
        for conn in list(self.open.values()):
            with contextlib.suppress(OSError, ValueError):
                conn.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(60)
