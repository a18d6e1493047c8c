"""--http: the application over plain HTTP, for development.

What HTTP itself is about is tested in tests/unit/http_*, and what applications
see of it in tests/servers, where the gateway is one of the web servers.

SPDX-License-Identifier: MIT
"""
import contextlib
import http.client
import os
import signal
import socket

import pytest

from support import fastcgi
from support.gateway import DEADLINE, Gateway, free_port, run, wait_until

SCRIPT = """
local fcgi = require "fcgi"
function on_request(req)
  if req:path() == "/sleep" then fcgi.sleep(300) end
  if req:path() == "/complain" then req:write_err("to the log\\n") end
  if req:path() == "/param" then
    return 200, {}, req:param(req:query("name")) or "none"
  end
  return 200, {}, ("%d %d"):format(fcgi.worker.pid, fcgi.worker.generation)
end
return { on_request = on_request, abort = "cancel" }
"""
BOTH = pytest.mark.parametrize("options", [(), ("-w", "2")],
                               ids=["alone", "workers"])


class Client(http.client.HTTPConnection):
    """One connection, to (host, port) or to a unix socket."""

    def __init__(self, address):
        super().__init__("localhost", timeout=DEADLINE)
        self.address = address

    def connect(self):
        self.sock = fastcgi.connect(self.address, DEADLINE)

    def get(self, target):
        self.request("GET", target)
        answer = self.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, (answer.status, body)
        return body


@contextlib.contextmanager
def serving(*options, script=SCRIPT, **args):
    port = free_port()
    with Gateway(script, f"--http=127.0.0.1:{port}", *options, **args) as gw:
        gw.http = ("127.0.0.1", port)
        with contextlib.closing(Client(gw.http)) as gw.client:
            yield gw


def ask(address, target="/"):
    with contextlib.closing(Client(address)) as client:
        return client.get(target)


def test_it_serves_beside_fastcgi_and_says_what_it_is_for():
    with serving() as gw:
        assert ask(gw.http) == f"{gw.pid} 1"
        assert gw.request().body == f"{gw.pid} 1".encode()
        where = "http://127.0.0.1:%d" % gw.http[1]
        gw.wait_log(f"{where}: for development")
        gw.wait_log(f"listening on {where}")


def test_no_other_socket_is_needed():
    port = free_port()
    with Gateway(SCRIPT, f"--http=:{port}", listen=None) as gw:
        gw.wait_log(f"listening on http://127.0.0.1:{port}$")
        assert ask(("127.0.0.1", port)) == f"{gw.pid} 1"


def test_a_unix_socket_will_do():
    with Gateway(SCRIPT, listen=None, wait=False, env={}) as gw:
        assert gw.wait() == 64
        gw.expect = None
        path = str(gw.folder / "http")
        with Gateway(SCRIPT, f"--http=unix:{path}", listen=None) as other:
            other.wait_log("listening on HTTP, unix:")
            assert ask(path, "/param?name=REMOTE_ADDR") == "none"


def test_the_script_may_say_where():
    port = free_port()
    script = SCRIPT.replace("return { on_",
                            f'return {{ http = ":{port}", on_')
    with Gateway(script, listen=None) as gw:
        gw.wait_log("listening on http:")
        assert ask(("127.0.0.1", port)) == f"{gw.pid} 1"


def test_both_ends_of_the_connection_are_known():
    with serving() as gw:
        assert gw.client.get("/param?name=REMOTE_ADDR") == "127.0.0.1"
        port = gw.client.sock.getsockname()[1]
        assert gw.client.get("/param?name=REMOTE_PORT") == str(port)
        assert gw.client.get("/param?name=SERVER_ADDR") == "127.0.0.1"


@pytest.mark.parametrize("address", ["0.0.0.0:%d", "*"])
def test_other_machines_must_be_asked_for(tmp_path, address):
    script = tmp_path / "app.lua"
    script.write_text(SCRIPT)
    if address == "*":
        address = "[::]:%d"
        if not has_ipv6():
            address = "0.0.0.0:%d"
    address %= free_port()
    done = run(f"--http={address}", script)
    assert done.code == 64
    assert "--http-public allows it" in done.err and address in done.err
    with Gateway(SCRIPT, f"--http={address}", "--http-public",
                 listen=None) as gw:
        gw.wait_log("listening on http:")


def has_ipv6():
    try:
        socket.create_server(("::", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


def test_what_is_no_address_is_refused(tmp_path):
    script = tmp_path / "app.lua"
    script.write_text(SCRIPT)
    done = run("--http=nonsense", script)
    assert done.code == 64 and "--http" in done.err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("--http=127.0.0.1:%d" % taken.getsockname()[1], script)
    assert done.code == 69 and "--http: cannot listen on" in done.err


def test_browsers_need_not_be_in_the_list_of_web_servers():
    with serving(env={"FCGI_WEB_SERVER_ADDRS": "192.0.2.1"}) as gw:
        assert ask(gw.http) == f"{gw.pid} 1"


def test_the_error_stream_is_the_log():
    with serving() as gw:
        gw.client.get("/complain")
        gw.wait_log("to the log")
        assert gw.log().count("to the log") == 1


def test_pages_for_operators_are_there():
    with serving("--status=/status", "--ping=/ping") as gw:
        assert gw.client.get("/ping").strip() == "pong"
        assert "accepted conn" in gw.client.get("/status")


@BOTH
def test_a_kept_connection_outlives_a_reload(options):
    with serving(*options) as gw:
        assert gw.client.get("/").endswith(" 1")
        sock = gw.client.sock
        gw.signal(signal.SIGHUP)
        wait_until(lambda: gw.client.get("/").endswith(" 2"), "the reload")
        assert gw.client.sock is sock
        wait_until(lambda: ask(gw.http).endswith(" 2"), "all of the reload")


@BOTH
def test_a_kept_connection_outlives_an_upgrade(options):
    with serving(*options) as gw:
        assert gw.client.get("/").endswith(" 1")
        sock = gw.client.sock
        gw.signal(signal.SIGUSR2)
        wait_until(lambda: gw.client.get("/").endswith(" 2"), "the upgrade")
        assert gw.client.sock is sock
        assert gw.client.get("/param?name=REMOTE_ADDR") == "127.0.0.1"
        wait_until(lambda: ask(gw.http).endswith(" 2"), "all of the upgrade")
        wait_until(lambda: gw.request().body.endswith(b" 2"), "FastCGI")


@BOTH
def test_a_stop_ends_idle_connections(options):
    with serving(*options) as gw:
        gw.client.get("/")
        assert gw.stop() == 0
        assert gw.client.sock.recv(1) == b""


def test_a_client_that_leaves_aborts_its_request():
    with serving() as gw:
        gw.client.request("GET", "/sleep")
        gw.client.close()
        gw.signal(signal.SIGTERM)  # does not wait for the sleeper
        assert gw.wait() == 0
        assert "grace" not in gw.log()


def test_hundreds_of_connections_are_served_at_once():
    with serving("-w", "2") as gw, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(Client(gw.http)))
                   for _ in range(200)]
        for client in clients:
            client.request("GET", "/")
        pids = {client.getresponse().read().split()[0] for client in clients}
        assert len(pids) == 2 and str(os.getpid()).encode() not in pids


def test_an_answer_that_is_not_as_long_as_it_says_is_told_of():
    script = """
function on_request(req)
  req:set_header("Content-Length", req:query "length")
  req:write("hello")
end
"""
    with serving(script=script) as gw:
        assert gw.client.get("/a?length=2") == "he"
        gw.wait_log(r"warn .*HTTP: the answer has 3 bytes more than its "
                    r"Content-Length says, which were left out "
                    r"\(GET /a\?length=2\)")
        assert gw.client.get("/b?length=5") == "hello"
        with pytest.raises(http.client.IncompleteRead):
            gw.client.get("/c?length=7")
        gw.wait_log(r"warn .*HTTP: the answer has 2 bytes fewer than its "
                    r"Content-Length says \(GET /c\?length=7\)")
        assert "/b" not in gw.log()
