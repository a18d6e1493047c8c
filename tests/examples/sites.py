"""Examples in three ways at once: one gateway that serves FastCGI on a unix
socket and --http, and nginx in front with the shipped configuration.

    with Site("hello.lua") as site:
        answer = site.ask("nginx", "GET", "/?name=Ada")

SPDX-License-Identifier: MIT
"""
import pathlib
import sys
import urllib.parse

from support import fastcgi
from support.gateway import PROJECT, Gateway, free_port

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import http_client  # noqa: E402
import webserver  # noqa: E402

FRONTS = ["fastcgi", "http", "nginx"]


class Answer:
    """What all three give: status, headers (a list of pairs, with names in
    lower case), body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        """Its value; None if it is not there, and never twice."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, self.headers
        return found[0] if found else None

    @property
    def text(self):
        return self.body.decode()

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:2000]!r}>"


def as_params(method, target, headers):
    """A request as nginx tells of it."""
    path, _, query = target.partition("?")
    params = {"REQUEST_METHOD": method, "REQUEST_URI": target,
              "SCRIPT_NAME": urllib.parse.unquote_to_bytes(path),
              "QUERY_STRING": query, "HTTP_HOST": "127.0.0.1"}
    for name, value in headers:
        name = name.upper().replace("-", "_")
        params[name if name == "CONTENT_TYPE" else "HTTP_" + name] = value
    return params


class Site(webserver.Nginx):
    """An example, with the arguments of the script, in a folder of its own
    (cwd), where it may write."""
    name = "nginx"

    def __init__(self, example, *args, options=()):
        super().__init__(PROJECT / "examples" / example)
        self.args, self.http_port = args, free_port()
        self.cwd = self.folder / "work"
        self.cwd.mkdir()
        self.gateway_options = (f"--http=127.0.0.1:{self.http_port}", *options)

    def start_gateway(self):
        self.forget_gateway()
        path = str(self.folder / "run" / "app.sock")
        self.gateway = Gateway(
            self.folder.app, *self.gateway_options, cwd=self.cwd,
            args=self.args, listen=f"unix:{path},mode=0666", address=path)
        # So that what the first request opens, and keeps, is open.
        self.gateway.request({"SCRIPT_NAME": "/"})
        self.idle_fds = self.open_fds()

    def address_of(self, front):
        return self.address if front == "nginx" else (
            "127.0.0.1", self.http_port)

    def url(self, front):
        return "http://%s:%d/" % self.address_of(front)

    def connect(self, front):
        """A connection to a web server, for answers that arrive bit by bit."""
        return http_client.Connection(self.address_of(front))

    def ask(self, front, method, target, headers=(), body=None):
        if front != "fastcgi":
            answer = http_client.request(self.address_of(front), method,
                                         target, headers, body)
            return Answer(answer.status, answer.headers, answer.body)
        found = fastcgi.request(self.gateway.address, as_params(
            method, target, headers), body or b"")
        names = {name for name in found.headers if name != "status"}
        return Answer(found.status, [
            (name, value) for name in names
            for value in found.header_all(name)], found.body)


class Sites:
    """One of each, started when first asked for."""

    def __init__(self):
        self.running = {}

    def get(self, example, *args, **more):
        key = example, args
        if key not in self.running:
            self.running[key] = Site(example, *args, **more).__enter__()
        return self.running[key]

    def check(self):
        for site in self.running.values():
            site.check()

    def close(self):
        errors = []
        for site in self.running.values():
            try:
                site.__exit__(None, None, None)
            except AssertionError as error:
                errors.append(error)
        if errors:
            raise errors[0]
