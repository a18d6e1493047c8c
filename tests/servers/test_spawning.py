"""Whoever starts the gateway: Apache's mod_fcgid, lighttpd, spawn-fcgi, systemd
and cgi-fcgi, with what examples/servers/ and examples/deploy/ have for them.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import shlex
import signal
import subprocess

import pytest
import webserver
from http_client import Connection, request
from support import fastcgi
from support.gateway import environment, wait_until
from webserver import EXAMPLES, IS_ROOT, Folder, find, replace_texts


# --- web servers ----------------------------------------------------------

SPAWNING = [kind for kind in webserver.ALL if kind.spawns]
names = {"ids": lambda kind: kind.name}


@pytest.fixture(params=SPAWNING, **names)
def spawner(request):
    """A web server of this test's own, which may end it."""
    with request.param() as server:
        yield server


def hello(server):
    answer = request(server.address, "GET", "/hello")
    return answer.status, answer.body


def hold(server, http, prefix):
    """Sends a request, and returns when its handler runs."""
    http.send("GET", server.waiting("hold", prefix), close=True)
    wait_until(server.mark(prefix, "started").exists, "the handler's start")


def is_listening(pid):
    """Whether the process has a unix socket open that accepts."""
    with open("/proc/net/unix") as sockets:
        accepting = {fields[6] for fields in map(str.split, sockets)
                     if fields[3] == "00010000"}
    try:
        links = [os.readlink(link) for link in
                 pathlib.Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:  # closed meanwhile: look again
        return is_listening(pid)
    return any(link[len("socket:["):-1] in accepting for link in links)


def test_stop_finishes_what_runs(spawner, prefix):
    """The web server is told to stop kindly while a handler runs; the answer
    arrives, and the gateway ends by itself."""
    with Connection(spawner.address) as http:
        hold(spawner, http, prefix)
        spawner.child.send_signal(spawner.graceful)
        spawner.wait_log(spawner.stopping)
        spawner.mark(prefix, "go").touch()
        answer = http.answer().read()
        assert (answer.status, answer.body) == (200, b"held and answered\n")
    spawner.child.wait(20)
    wait_until(lambda: not spawner.spawned(), "the gateway's end")
    spawner.check_ends()


@pytest.mark.parametrize("spawner", [
    kind for kind in SPAWNING if issubclass(kind, webserver.Apache)],
    indirect=True, **names)
def test_restart_finishes_what_runs(spawner, prefix):
    """`apachectl graceful`: the gateway is told to end while a handler runs,
    and started anew.  mod_fcgid tells it a second time one second later."""
    with Connection(spawner.address) as http:
        hold(spawner, http, prefix)
        gateway, = spawner.spawned()
        spawner.child.send_signal(signal.SIGUSR1)
        wait_until(lambda: not is_listening(gateway), "the gateway's stop")
        spawner.wait_log("SIGTERM again")
        spawner.mark(prefix, "go").touch()
        answer = http.answer().read()
        assert (answer.status, answer.body) == (200, b"held and answered\n")
    assert hello(spawner) == (200, b"hello world\n")
    spawner.check_ends()


@pytest.mark.parametrize("spawner", [webserver.ApacheScript], indirect=True,
                         **names)
def test_restart_does_not_wait_for_ever(spawner, prefix):
    """mod_fcgid kills what has not ended in 8 seconds; the gateway ends by
    itself before, though a handler still runs (FCGI_LUA_GRACE)."""
    with Connection(spawner.address) as http:
        hold(spawner, http, prefix)
        gateway, = spawner.spawned()
        spawner.child.send_signal(signal.SIGUSR1)
        wait_until(lambda: gateway not in spawner.spawned(), "its end")
    assert hello(spawner) == (200, b"hello world\n")
    spawner.check_ends()


def test_killed_gateway_is_replaced(spawner):
    """The next requests work; one may get an error before the web server has
    noticed."""
    assert hello(spawner) == (200, b"hello world\n")
    killed = spawner.spawned()
    assert len(killed) == 1
    os.kill(killed[0], signal.SIGKILL)
    wait_until(lambda: killed[0] not in spawner.spawned(), "its end")

    def works():
        status, body = hello(spawner)
        assert status == 200 or status >= 500
        return (status, body) == (200, b"hello world\n")

    wait_until(works, "an answer")
    assert spawner.spawned() and spawner.spawned() != killed
    for _ in range(5):
        assert hello(spawner) == (200, b"hello world\n")


def test_gateway_that_was_told_to_end_is_replaced(spawner):
    """SIGTERM from outside, as a memory watcher would do."""
    assert hello(spawner) == (200, b"hello world\n")
    ended = spawner.spawned()
    os.kill(ended[0], signal.SIGTERM)
    wait_until(lambda: ended[0] not in spawner.spawned(), "its end")
    wait_until(lambda: hello(spawner) == (200, b"hello world\n"), "an answer")
    assert spawner.spawned() != ended


# --- others ---------------------------------------------------------------

@pytest.fixture
def folder():
    folder = Folder()
    yield folder
    try:
        left = webserver.processes_with(str(folder / "app."))
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, "the gateway was still there"
        folder.check_reports()
    finally:
        folder.remove()


@pytest.fixture
def client():
    """client(address, target, body): an answer through cgi-fcgi."""
    cgi_fcgi = find("cgi-fcgi", "libfcgi-bin")

    def ask(path, target, body=b""):
        env = environment({
            "REQUEST_METHOD": "POST" if body else "GET",
            "REQUEST_URI": target, "QUERY_STRING": target.partition("?")[2],
            "CONTENT_LENGTH": str(len(body))})
        done = subprocess.run([cgi_fcgi, "-bind", "-connect", path], env=env,
                              input=body, stdout=subprocess.PIPE, timeout=60)
        assert done.returncode == 0
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        return head, body

    return ask


def socket_of(folder):
    return str(folder / "run" / "app.sock")


def gateways(folder):
    return webserver.processes_with(str(folder / "app."))


def shipped(folder, file, mode, replacements):
    path = EXAMPLES / file
    text = replace_texts(path.read_text(), replacements, file)
    return folder.place(path.name, text, mode)


def end_by_pid(folder, pid):
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: pid not in gateways(folder), "the gateway's end")


def test_spawn_fcgi(folder, client):
    find("spawn-fcgi", "spawn-fcgi")
    replacements = {
        "/run/app.sock": socket_of(folder),
        "/run/app.pid": str(folder / "run" / "app.pid"),
        "/usr/local/bin/fcgi-lua": str(folder.program),
        "/srv/app.lua": str(folder.app)}
    if not IS_ROOT:
        replacements["-u www-data -g www-data"] = ""
    script = shipped(folder, "spawn-fcgi.sh", 0o755, replacements)
    done = subprocess.run([script], env=environment(
        folder.environment()), timeout=60, check=True,
        stdout=subprocess.PIPE)
    pid = int((folder / "run" / "app.pid").read_text())
    assert str(pid).encode() in done.stdout
    assert os.stat(socket_of(folder)).st_mode & 0o777 == 0o660

    head, body = client(socket_of(folder), "/hello?name=you")
    assert body == b"hello you\n"
    assert b"Content-Type: text/plain" in head
    sent = bytes(range(256)) * 256
    assert client(socket_of(folder), "/echo", sent)[1] == sent
    assert gateways(folder) == [pid]
    if IS_ROOT:
        assert os.stat(f"/proc/{pid}").st_uid != 0
    end_by_pid(folder, pid)


def test_cgi_fcgi_starts_the_script(folder, client):
    """The gateway has descriptors 1 and 2 closed then."""
    path = socket_of(folder)
    subprocess.run([find("cgi-fcgi", "libfcgi-bin"), "-start", "-connect",
                    path, folder.fcgi], env=environment(folder.environment()),
                   stdin=subprocess.DEVNULL, timeout=60, check=True)
    assert client(path, "/hello")[1] == b"hello world\n"
    pid, = gateways(folder)
    sent = bytes(range(256)) * 256
    assert client(path, "/echo", sent)[1] == sent
    assert client(path, "/hello?name=again")[1] == b"hello again\n"
    assert gateways(folder) == [pid]
    end_by_pid(folder, pid)


def unit_settings(path):
    """What a unit file sets; of a name that stands twice the last."""
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines
                if "=" in line and not line.startswith("#"))


def units(folder):
    """The unit files, fit for this folder."""
    return [shipped(folder, file, 0o644, replacements)
            for file, replacements in (
                ("../deploy/fcgi-lua.socket", {"/run/app.sock": socket_of(folder)}),
                ("../deploy/fcgi-lua.service", {
                    "/usr/local/bin/fcgi-lua": str(folder.program),
                    "/srv/app.lua": str(folder.app)}))]


def test_systemd_socket_activation(folder, client):
    """systemd's own stand-in passes the socket as systemd would, with the
    first connection."""
    activate = find("systemd-socket-activate", "systemd")
    socket, service = map(unit_settings, units(folder))
    sanitizers = [f"-E{name}={value}" for name, value
                  in folder.sanitizer_options().items()]
    with open(folder / "log" / "output", "wb") as log:
        child = subprocess.Popen(
            [activate, "-l", socket["ListenStream"], *sanitizers,
             *shlex.split(service["ExecStart"])],
            env=environment(), stdin=subprocess.DEVNULL, stdout=log,
            stderr=log)
    try:
        wait_until(lambda: is_listening(child.pid), "the socket")
        assert client(socket_of(folder), "/hello")[1] == b"hello world\n"
        sent = bytes(range(256)) * 256
        assert client(socket_of(folder), "/echo", sent)[1] == sent
        response = fastcgi.request(socket_of(folder), {
            "REQUEST_URI": "/hello"})
        assert response.body == b"hello world\n"
        # It is the same process: systemd-socket-activate has become it.
        assert gateways(folder) == [child.pid]
        child.terminate()
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()
