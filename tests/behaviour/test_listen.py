"""Where the gateway listens: every form of address, and how each can fail.

SPDX-License-Identifier: MIT
"""
import fcntl
import grp
import os
import pwd
import re
import socket
import stat

import pytest

from support import fastcgi
from support.gateway import free_port, run, wait_until

IS_ROOT = os.geteuid() == 0
APP = "function on_request(req) return 200, {}, 'ok' end\n"


def ok(address, **args):
    with fastcgi.Connection(address, **args) as conn:
        return conn.request(1).text == "ok"


def refused(address):
    try:
        fastcgi.connect(address, 2).close()
    except OSError:
        return True
    return False


@pytest.fixture
def app(tmp_path):
    path = tmp_path / "app.lua"
    path.write_text(APP)
    return path


def unix_listener(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


# --- TCP ---

def test_host_and_port(gateway):
    port = free_port()
    gateway(APP, listen=f"127.0.0.1:{port}", address=("127.0.0.1", port))
    assert ok(("127.0.0.1", port))
    assert refused(("127.0.0.2", port))


@pytest.mark.parametrize("option", ["--listen=:%d", "--port=%d", "-p%d"])
def test_port_alone_is_every_address(gateway, option):
    port = free_port()
    gw = gateway(APP, option % port, listen=None,
                 address=("127.0.0.1", port))
    assert ok(("127.0.0.1", port)) and ok(("127.0.0.2", port))
    assert ok(("::1", port))
    assert len(re.findall(" notice .*FCGI_WEB_SERVER_ADDRS", gw.log())) == 1


def test_every_address_is_not_noticed_with_a_list_of_peers(gateway):
    port = free_port()
    gw = gateway(APP, f"-p{port}", listen=None, address=("127.0.0.1", port),
                 env={"FCGI_WEB_SERVER_ADDRS": "127.0.0.1"})
    assert "FCGI_WEB_SERVER_ADDRS" not in gw.log()


def test_ipv6_address(gateway):
    port = free_port("::1")
    gateway(APP, listen=f"[::1]:{port}", address=("::1", port))
    assert ok(("::1", port)) and refused(("127.0.0.1", port))


def test_host_name_is_all_its_addresses(gateway):
    port = free_port()
    gateway(APP, listen=f"localhost:{port}", address=("127.0.0.1", port))
    for *_, address in socket.getaddrinfo("localhost", port,
                                          type=socket.SOCK_STREAM):
        assert ok(address[:2])


def test_unknown_host_name_is_told(app):
    result = run("-l", "no-such-host.invalid:9000", app)
    assert result.code == 69 and "no-such-host.invalid" in result.err


def test_port_in_use_is_69(app):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run("-l", f"127.0.0.1:{port}", app)
    assert result.code == 69
    assert result.err.startswith("fcgi-lua: ") and str(port) in result.err


def test_port_is_reused_after_a_stop(gateway):
    port = free_port()
    for _ in range(2):
        gw = gateway(APP, listen=f"127.0.0.1:{port}",
                     address=("127.0.0.1", port))
        with gw.connect() as conn:
            conn.request(1)
            assert gw.stop() == 0


# --- unix sockets ---

def test_unix_socket(gateway, tmp_path):
    path = tmp_path / "s"
    gateway(APP, listen=f"unix:{path}", address=str(path))
    assert ok(str(path))


@pytest.mark.parametrize("mode", ["0600", "0660", "0666", "777", "0700"])
def test_unix_mode(gateway, tmp_path, mode):
    path = tmp_path / "s"
    gateway(APP, listen=f"unix:{path},mode={mode}", address=str(path))
    assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)


def test_unix_owner_and_group(gateway, app, tmp_path):
    """Root gives the socket to anybody; others are told that they cannot."""
    path = tmp_path / "s"
    address = f"unix:{path},owner=nobody,group=nogroup,mode=0640"
    if not IS_ROOT:
        result = run("-l", f"unix:{path},owner=root,group=root", app)
        assert result.code == 69
        assert f"cannot listen on unix:{path}" in result.err
        assert not path.exists()
        return
    user, group = pwd.getpwnam("nobody"), grp.getgrnam("nogroup")
    gateway(APP, listen=address, address=str(path))
    found = path.stat()
    assert (found.st_uid, found.st_gid) == (user.pw_uid, group.gr_gid)
    assert stat.S_IMODE(found.st_mode) == 0o640


def test_unix_group_alone(gateway, tmp_path):
    """A group of the user's own; root has them all."""
    mine = (os.getgroups() or [os.getgid()])[-1]
    group = "nogroup" if IS_ROOT else grp.getgrgid(mine).gr_name
    path = tmp_path / "s"
    gateway(APP, listen=f"unix:{path},group={group}", address=str(path))
    found = path.stat()
    assert found.st_gid == grp.getgrnam(group).gr_gid
    assert found.st_uid == os.getuid()


def test_stale_unix_socket_is_replaced(gateway, tmp_path):
    path = tmp_path / "s"
    unix_listener(path).close()
    assert path.exists()
    gateway(APP, listen=f"unix:{path}", address=str(path))
    assert ok(str(path))


def test_unix_socket_in_use_is_69(app, tmp_path):
    path = tmp_path / "s"
    with unix_listener(path):
        result = run("-l", f"unix:{path}", app)
        assert result.code == 69 and str(path) in result.err
        fastcgi.connect(str(path)).close()      # the other's is untouched


def test_file_that_is_no_socket_is_left_alone(app, tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    result = run("-l", f"unix:{path}", app)
    assert result.code == 69 and str(path) in result.err
    assert path.read_text() == "precious"


def test_unix_path_in_no_folder_is_69(app, tmp_path):
    result = run("-l", f"unix:{tmp_path}/none/s", app)
    assert result.code == 69 and f"{tmp_path}/none/s" in result.err


@pytest.mark.parametrize("length,code", [(107, 0), (108, None)])
def test_longest_unix_path(gateway, app, tmp_path, length, code):
    path = str(tmp_path / "s")
    path += "x" * (length - len(path))
    if code == 0:
        gateway(APP, listen=f"unix:{path}", address=path)
        assert ok(path)
    else:
        result = run("-l", f"unix:{path}", app)
        assert result.code == 64 and path[:60] in result.err


def test_unix_socket_is_unlinked_at_exit(gateway, tmp_path):
    path = tmp_path / "s"
    gw = gateway(APP, listen=f"unix:{path}", address=str(path))
    assert gw.stop() == 0 and not path.exists()


def test_unix_socket_that_another_took_over_is_left(gateway, tmp_path):
    path = tmp_path / "s"
    gw = gateway(APP, listen=f"unix:{path}", address=str(path))
    path.unlink()
    with unix_listener(path):
        assert gw.stop() == 0
        fastcgi.connect(str(path)).close()


def test_sockets_are_unlinked_when_the_start_fails_later(app, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run("-l", f"unix:{tmp_path}/s", "-l", f"127.0.0.1:{port}",
                     app)
    assert result.code == 69
    assert not (tmp_path / "s").exists()


# --- several ---

def test_several_at_once(gateway, tmp_path):
    port = free_port()
    one, two = str(tmp_path / "1"), str(tmp_path / "2")
    gateway(APP, "-l", f"unix:{one}", "-l", f"127.0.0.1:{port}",
            f"--listen=unix:{two}", listen=None, address=two)
    assert ok(one) and ok(two) and ok(("127.0.0.1", port))


def test_the_same_address_twice_is_69(app, tmp_path):
    result = run("-l", f"unix:{tmp_path}/s", "-l", f"unix:{tmp_path}/s", app)
    assert result.code == 69


# --- inherited ---

def test_fd_n(gateway, tmp_path):
    path = tmp_path / "s"
    with unix_listener(path) as listener:
        gw = gateway(APP, f"--listen=fd:{listener.fileno()}", listen=None,
                     address=str(path), pass_fds=(listener.fileno(),))
        assert ok(str(path))
        assert gw.stop() == 0
    assert path.exists()        # unlinked only by who bound it


def test_fd_that_is_not_open_is_69(app):
    result = run("-l", "fd:77", app)
    assert result.code == 69 and "77" in result.err


def test_fd_that_is_no_listening_socket_is_69(app, tmp_path):
    with open(tmp_path / "f", "w") as file:
        result = run("-l", f"fd:{file.fileno()}", app,
                     pass_fds=(file.fileno(),))
    assert result.code == 69 and "fd" in result.err
    one, two = socket.socketpair()
    with one, two:
        result = run("-l", f"fd:{one.fileno()}", app,
                     pass_fds=(one.fileno(),))
    assert result.code == 69


def test_fd_0(gateway, tmp_path):
    path = tmp_path / "s"
    with unix_listener(path) as listener:
        gateway(APP, listen=None, address=str(path), stdin=listener)
        assert ok(str(path))


def test_fd_0_of_tcp(gateway):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        gateway(APP, listen=None, address=address, stdin=listener)
        assert ok(address)


def test_listen_option_wins_over_fd_0(gateway, tmp_path):
    with unix_listener(tmp_path / "0") as listener:
        gw = gateway(APP, stdin=listener)
        assert gw.request().text == "ok"
        with fastcgi.Connection(str(tmp_path / "0")) as conn:
            conn.start(1)
            gw.barrier()
            assert listener.accept()        # nobody took it


def passed(listeners, env):
    """Popen arguments that pass listeners as fds 3, 4, ... as systemd does;
    env is shell text."""
    sources = [os.dup(s.fileno()) for s in listeners]

    def place():
        high = [os.dup2(fd, 100 + n) for n, fd in enumerate(sources)]
        for n, fd in enumerate(high):
            os.dup2(fd, 3 + n)

    return {"preexec_fn": place,
            "pass_fds": tuple(range(3, 3 + len(listeners))),
            "wrap": ["sh", "-c", f'{env}; exec "$@"', "sh"]}


def test_systemd_socket(gateway, tmp_path):
    path = tmp_path / "s"
    with unix_listener(path) as listener:
        gw = gateway("function on_request() return 200, {}, "
                     "tostring(os.getenv 'LISTEN_FDS') .. "
                     "tostring(os.getenv 'LISTEN_PID') end",
                     listen=None, address=str(path),
                     **passed([listener],
                              "export LISTEN_FDS=1 LISTEN_PID=$$"))
        assert gw.request().text == "nilnil"
        assert gw.stop() == 0
    assert path.exists()


def test_several_systemd_sockets(gateway, tmp_path):
    one, two = tmp_path / "1", tmp_path / "2"
    with unix_listener(one) as a, unix_listener(two) as b:
        gateway(APP, listen=None, address=str(two),
                **passed([a, b], "export LISTEN_FDS=2 LISTEN_PID=$$ "
                         "LISTEN_FDNAMES=a:b"))
        assert ok(str(one)) and ok(str(two))


@pytest.mark.parametrize("env", [
    "export LISTEN_FDS=1 LISTEN_PID=1", "export LISTEN_FDS=1",
    "export LISTEN_FDS=1 LISTEN_PID=", "export LISTEN_FDS=1 LISTEN_PID=x",
    "export LISTEN_FDS=0 LISTEN_PID=$$"])
def test_systemd_socket_of_another_process_is_not_taken(app, tmp_path, env):
    with unix_listener(tmp_path / "s") as listener:
        result = run(app, **passed([listener], env))
    assert result.code == 64 and "nothing to listen on" in result.err


@pytest.mark.parametrize("env", ["export LISTEN_FDS=x LISTEN_PID=$$",
                                 "export LISTEN_FDS=-1 LISTEN_PID=$$",
                                 "export LISTEN_FDS=5 LISTEN_PID=$$",
                                 "export LISTEN_FDS=2000000000 "
                                 "LISTEN_PID=$$"])
def test_broken_listen_fds_is_an_error(app, tmp_path, env):
    with unix_listener(tmp_path / "s") as listener:
        result = run(app, **passed([listener], env))
    assert result.code == 69
    assert "LISTEN_FDS" in result.err or "fd:4: it is not a" in result.err


def test_inherited_sockets_become_non_blocking(gateway, tmp_path):
    path = tmp_path / "s"
    with unix_listener(path) as listener:
        listener.setblocking(True)
        gateway(APP, listen=None, address=str(path), stdin=listener)
        assert ok(str(path))
        # the flag belongs to the socket, which we share
        assert fcntl.fcntl(listener, fcntl.F_GETFL) & os.O_NONBLOCK


# --- closed standard files ---

@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "12", "02", "012"])
def test_closed_standard_files(gateway, tmp_path, closed):
    redirections = " ".join({"0": "0<&-", "1": "1>&-", "2": "2>&-"}[fd]
                            for fd in closed)
    log = tmp_path / "log"
    gw = gateway("function on_request(req) print 'printed' io.write 'w\\n' "
                 "io.stderr:write 'raw\\n' req:write_err('said\\n') "
                 "if req:param 'E' then error 'broken' end "
                 "return 200, {}, tostring(io.read(1)) end", f"--log={log}",
                 wrap=["sh", "-c", f'exec "$@" {redirections}', "sh"])
    with gw.connect() as conn:
        for _ in range(3):
            response = conn.request(1)
            assert response.text == "nil" and response.stderr == b"said\n"
        assert conn.request(1, {"E": "1"}).status == 500
    wait_until(lambda: "broken" in log.read_text(), "the log line")


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_listening_fd_0_with_closed_1_and_2(gateway, tmp_path, closed):
    path = tmp_path / "s"
    with unix_listener(path) as listener:
        gw = gateway("function on_request(req) print 'x' error 'broken' end",
                     listen=None, address=str(path), stdin=listener,
                     wrap=["sh", "-c", f'exec "$@" {closed}', "sh"])
        for _ in range(3):
            assert gw.request().status == 500


def test_leaked_files_of_the_parent_are_left_alone(gateway, tmp_path):
    read, write = os.pipe()
    try:
        gw = gateway(APP, pass_fds=(read, write))
        assert gw.request().text == "ok"
        target = os.readlink(f"/proc/{gw.pid}/fd/{write}")
        assert target.startswith("pipe:")
    finally:
        os.close(read)
        os.close(write)


# --- FCGI_WEB_SERVER_ADDRS ---

def tcp(gateway, allowed):
    return gateway(APP, listen="tcp",
                   env={"FCGI_WEB_SERVER_ADDRS": allowed})


@pytest.mark.parametrize("allowed", ["127.0.0.1", "192.0.2.1,127.0.0.1",
                                     "127.0.0.1,192.0.2.1"])
def test_listed_peer_is_served(gateway, allowed):
    assert tcp(gateway, allowed).request().text == "ok"


@pytest.mark.parametrize("allowed", ["192.0.2.1", "127.0.0.2,10.0.0.1"])
def test_unlisted_peer_is_closed(gateway, allowed):
    gw = tcp(gateway, allowed)
    with gw.connect() as conn:
        assert conn.expect_close() == []
    with gw.connect() as conn:
        try:
            conn.start(1)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert conn.expect_close() == []


def test_peers_are_told_apart(gateway):
    gw = tcp(gateway, "127.0.0.2")
    assert ok(gw.address, source=("127.0.0.2", 0))
    with gw.connect(source=("127.0.0.3", 0)) as conn:
        assert conn.expect_close() == []


def test_unix_peer_is_closed_when_a_list_is_given(gateway):
    gw = gateway(APP, env={"FCGI_WEB_SERVER_ADDRS": "127.0.0.1"})
    with gw.connect() as conn:
        assert conn.expect_close() == []


@pytest.mark.parametrize("allowed", ["", "junk", "127.0.0.1,junk", "1.2.3",
                                     "127.0.0.1/8"])
def test_broken_list_of_peers_is_78(app, tmp_path, allowed):
    path = tmp_path / "s"
    result = run("-l", f"unix:{path}", app,
                 env={"FCGI_WEB_SERVER_ADDRS": allowed})
    assert result.code == 78 and "FCGI_WEB_SERVER_ADDRS" in result.err
    assert not path.exists()
