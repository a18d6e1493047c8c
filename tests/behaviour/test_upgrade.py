"""USR2: another program takes the place of the one that runs, and nobody who
asks notices.

SPDX-License-Identifier: MIT
"""
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
from signal import SIGHUP, SIGTERM, SIGUSR1, SIGUSR2

import pytest

from support import fastcgi
from support.gateway import environment, program, wait_until

IS_ROOT = os.geteuid() == 0
KINDS = ["1", "2"]      # -w: a single process, a supervisor
SCRIPT = """
local fcgi = require "fcgi"
function on_exit(id, reason) fcgi.log("notice", "on_exit " .. reason) end
function on_request(req)
  local wait = req:param "WAIT"
  if wait then
    req:write "Content-Type: text/plain\\r\\n\\r\\n"
    req:flush()
    req:read()
    req:write("waited ")
  end
  local text = ("%d %d"):format(fcgi.worker.generation, fcgi.worker.pid)
  if wait then req:write(text) return end
  return 200, {}, text
end
"""


def instead(path):
    """Has a Gateway start this program; argv[0] is path."""
    return ["sh", "-c", f'shift; exec {path} "$@"', "sh"]


class Service:
    """A gateway from a copy of the program, which a test may replace."""

    def __init__(self, gateway, folder, *options, script=SCRIPT, **more):
        self.path = folder / "fcgi-lua"
        shutil.copy(program(), self.path)
        self.gw = gateway(script, *options, wrap=instead(self.path), **more)
        self.pid = self.gw.pid
        self.expected = 1       # generation

    def replace(self, text=None, mode=0o755):
        """Puts another file there: a copy of the program, or a script."""
        fresh = self.path.with_name("fresh")
        if text is None:
            shutil.copy(program(), fresh)
        else:
            fresh.write_text(text)
        fresh.chmod(mode)
        fresh.rename(self.path)

    def write(self, text):
        fresh = self.gw.folder / "fresh.lua"
        fresh.write_text(text)
        fresh.rename(self.gw.script)

    def generation(self):
        return int(self.gw.request().text.split()[0])

    def upgrade(self):
        """Until the next generation answers; one before it may, too."""
        self.gw.signal(SIGUSR2)
        self.expected += 1
        self.wait_for(self.expected)

    def wait_for(self, generation):
        wait_until(lambda: self.generation() >= generation,
                   f"generation {generation}\n{self.gw.log()}")

    def refused(self, pattern):
        """An upgrade that fails with one line; all goes on as before."""
        before = self.generation()
        pids = children(self.pid)
        self.gw.signal(SIGUSR2)
        self.gw.wait_log(r" error \[\d+(/1)?\] not upgraded: " + pattern)
        assert self.gw.log().count("not upgraded: ") == 1
        assert self.generation() == before
        assert self.gw.alive() and self.gw.pid == self.pid
        wait_until(lambda: children(self.pid) == pids, "the end of the check")
        assert "takes over" not in self.gw.log()


def moved(conn, generation):
    """Until a kept connection is with a process of this generation: one more
    request may be served where it was."""
    wait_until(lambda: conn.request(1).text.startswith(f"{generation} "))


def children(pid):
    """Of a process: living ones, in order."""
    found = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid=,stat="],
                           capture_output=True, text=True, check=False)
    return sorted(line.split()[0] for line in found.stdout.splitlines()
                  if "Z" not in line.split()[1])


def family(pid):
    """A process, its children, and theirs."""
    return [str(pid)] + [name for child in children(pid)
                         for name in family(child)]


@pytest.fixture(params=KINDS, ids=["single", "supervisor"])
def kind(request):
    return request.param


@pytest.fixture
def service(gateway, tmp_path):
    """service(*options, ...) starts a Service."""
    def start(*options, **more):
        return Service(gateway, tmp_path, *options, **more)
    return start


# --- an upgrade ---

def test_it_serves_on_in_the_same_place(service, kind):
    one = service("-w", kind)
    inode = os.stat(one.gw.address).st_ino
    for _ in range(3):
        one.replace()
        one.upgrade()
    assert one.gw.alive()
    assert os.stat(one.gw.address).st_ino == inode
    assert os.readlink(f"/proc/{one.pid}/exe") == str(one.path)
    # The last generation may answer before all of its workers are ready.
    wait_until(lambda: one.gw.log().count("on_exit upgrade") == 3 * int(kind))
    assert one.gw.stop() == 0
    assert not os.path.exists(one.gw.address)
    assert one.gw.log().count("on_exit upgrade") == 3 * int(kind)
    assert one.gw.log().count("on_exit stop") == int(kind)


def test_descriptors_do_not_pile_up(service, kind):
    one = service("-w", kind, "--log-level=info")
    one.upgrade()
    one.upgrade()
    wait_until(lambda: one.gw.log().count("on_exit upgrade")
               == 2 * int(kind))
    wait_until(lambda: len(children(one.pid)) == (0 if kind == "1" else 1))
    fds = one.gw.fds()
    for n in range(3):
        one.upgrade()
    one.gw.wait_fds(fds)


def test_kept_connections_and_their_requests_live_on(service, kind):
    one = service("-w", kind)
    with one.gw.connect() as idle, one.gw.connect() as busy:
        assert idle.request(1).text.startswith("1 ")
        busy.begin(1)
        busy.params(1, fastcgi.default_params({"WAIT": "1"}))
        busy.wait_stdout(1)
        one.upgrade()
        one.upgrade()
        moved(idle, 3)
        busy.stdin(1, b"")
        response = busy.collect(1)
        response.check_complete()
        assert response.text.startswith("waited 1 ")    # where it began
        moved(busy, 3)
    wait_until(lambda: one.gw.log().count("on_exit upgrade")
               == 2 * int(kind), "the end of the old generations")


class Client(threading.Thread):
    """Asks until it is told to stop, on one connection or on many."""

    def __init__(self, gw, keeps):
        super().__init__()
        self.gw, self.keeps = gw, keeps
        self.done, self.error, self.stopping = 0, None, False
        self.start()

    def run(self):
        try:
            if self.keeps:
                with self.gw.connect() as conn:
                    while not self.stopping:
                        self.check(conn.request(1))
            else:
                while not self.stopping:
                    self.check(self.gw.request())
        except BaseException as error:
            self.error = error

    def check(self, response):
        response.check_complete()
        assert re.fullmatch(r"\d+ \d+", response.text)
        self.done += 1


def test_under_load_no_request_is_lost(service, kind):
    one = service("-w", kind)
    clients = [Client(one.gw, keeps) for keeps in [True, False] * 8]
    try:
        for _ in range(5):
            before = [client.done for client in clients]
            one.upgrade()
            wait_until(lambda: all(client.error or client.done > count
                                   for client, count in zip(clients, before)))
    finally:
        for client in clients:
            client.stopping = True
        for client in clients:
            client.join()
    assert [client.error for client in clients] == [None] * 16
    assert one.gw.log().count("takes over") == 5
    one.wait_for(6)


def test_the_start_is_repeated(service, kind, tmp_path):
    """Folder, arguments and environment are those of the start, whatever has
    become of them."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.lua").write_text("""
        local fcgi = require "fcgi"
        function on_request()
          return 200, {}, ("%d %s %s %s %s"):format(fcgi.worker.generation,
            arg[1], arg[2], os.getenv "COLOUR", os.getenv "FCGI_LUA_UPGRADE")
        end""")
    one = service("-w", kind, "--chdir=app", "app.lua", "a b", "",
                  script=None, cwd=tmp_path, env={"COLOUR": "red, green\n"})
    assert one.gw.request().text == "1 a b  red, green\n nil"
    one.gw.signal(SIGUSR2)
    wait_until(lambda: one.gw.request().text == "2 a b  red, green\n nil")
    one.gw.signal(SIGUSR2)
    wait_until(lambda: one.gw.request().text == "3 a b  red, green\n nil")


def test_programs_of_the_script_inherit_nothing(service, kind):
    one = service("-w", kind, script="""
        local fcgi = require "fcgi"
        function on_request(req)
          local found = io.popen("env; ls -l /proc/self/fd; cat " ..
            "/proc/self/status")
          local text = found:read "a"
          found:close()
          return 200, {}, fcgi.worker.generation .. "\\n" .. text
        end""")

    def look():
        text = one.gw.request().text
        assert "FCGI_LUA_UPGRADE" not in text
        return (text.split("\n")[0],
                re.findall(r"\d+ -> (socket|/memfd|anon)", text),
                re.search(r"SigBlk:\s*(\w+)", text)[1],
                re.search(r"SigIgn:\s*(\w+)", text)[1])

    before = look()
    one.gw.signal(SIGUSR2)
    wait_until(lambda: look()[0] == "2")
    assert look()[1:] == before[1:]
    assert look()[1] == []


def test_a_program_found_through_path(gateway, tmp_path):
    """argv[0] is a name, as behind #!/usr/bin/env."""
    path = tmp_path / "fcgi-lua"
    shutil.copy(program(), path)
    gw = gateway(SCRIPT, env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
                 wrap=instead("fcgi-lua"))
    fresh = tmp_path / "fresh"
    shutil.copy(program(), fresh)
    fresh.rename(path)
    assert os.readlink(f"/proc/{gw.pid}/exe").endswith(" (deleted)")
    gw.signal(SIGUSR2)
    wait_until(lambda: gw.request().text.startswith("2 "))
    assert os.readlink(f"/proc/{gw.pid}/exe") == str(path)


def test_a_script_that_is_a_program(tmp_path):
    app = tmp_path / "app.fcgi"
    shutil.copy(program(), tmp_path / "fcgi-lua")
    app.write_text("#!/usr/bin/env fcgi-lua\n" + SCRIPT)
    app.chmod(0o755)
    address = str(tmp_path / "socket")
    with open(tmp_path / "log", "wb") as log, \
            socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        child = subprocess.Popen(
            [app], stdin=listener, stderr=log,
            env=environment({"PATH": f"{tmp_path}:/usr/bin:/bin"}))
    try:
        assert fastcgi.request(address).text.startswith("1 ")
        child.send_signal(SIGUSR2)
        wait_until(lambda: fastcgi.request(address).text.startswith("2 "))
        assert fastcgi.request(address).text.split()[1] == str(child.pid)
    finally:
        child.terminate()
        assert child.wait(20) == 0, (tmp_path / "log").read_text()


def test_a_link_leads_to_the_new_program(gateway, tmp_path):
    for name in ("one", "two"):
        shutil.copy(program(), tmp_path / name)
    link = tmp_path / "fcgi-lua"
    link.symlink_to("one")
    gw = gateway(SCRIPT, wrap=instead(link))
    (tmp_path / "fresh").symlink_to("two")
    (tmp_path / "fresh").rename(link)
    gw.signal(SIGUSR2)
    wait_until(lambda: gw.request().text.startswith("2 "))
    assert os.readlink(f"/proc/{gw.pid}/exe") == str(tmp_path / "two")


def test_the_pid_file_stays_and_goes(service, kind, tmp_path):
    path = tmp_path / "pid"
    one = service("-w", kind, f"--pid={path}")
    inode = path.stat().st_ino
    one.upgrade()
    one.upgrade()
    assert path.read_text() == f"{one.pid}\n"
    assert path.stat().st_ino == inode
    assert one.gw.stop() == 0
    assert not path.exists()


def test_tcp_sockets_stay(service, kind):
    one = service("-w", kind, listen="tcp")
    with one.gw.connect() as conn:
        one.upgrade()
        moved(conn, 2)
        one.upgrade()
        moved(conn, 3)


def test_what_the_script_says_holds_for_a_supervisor(service, tmp_path):
    """It does not load the new script: its generations do."""
    address = str(tmp_path / "socket")
    table = """%s
        return { on_request = on_request, on_exit = on_exit, workers = 2,
          listen = "unix:%s", pid = "%s/pid" }"""
    one = service(script=table % (SCRIPT, address, tmp_path), listen=None,
                  address=address)
    one.write(table % (SCRIPT, address + "2", tmp_path))
    one.gw.signal(SIGUSR2)
    one.gw.wait_log("generation 2 serves with 2 workers")
    one.expected = 2
    one.upgrade()
    assert not os.path.exists(address + "2")
    assert one.gw.stop() == 0
    assert not (tmp_path / "pid").exists()


def test_the_number_of_workers_survives(service):
    one = service("-w", "2")
    one.gw.signal(signal.SIGTTIN)
    one.gw.wait_log("3 workers")
    one.gw.signal(SIGUSR2)
    one.gw.wait_log("generation 2 serves with 3 workers")


def test_counters_survive(service, kind):
    one = service("-w", kind, "--status=/status", script="""
        local fcgi = require "fcgi"
        local seen = fcgi.counter("seen", "Requests")
        function on_request(req)
          seen:inc()
          return 200, {}, tostring(fcgi.worker.generation)
        end""")
    page = {"SCRIPT_NAME": "/status", "REQUEST_URI": "/status?openmetrics",
            "QUERY_STRING": "openmetrics"}

    def seen():
        return int(re.search(r"^seen_total (\d+)", one.gw.request(page).text,
                             re.M)[1])

    for _ in range(5):
        one.gw.request()
    assert seen() == 5
    one.gw.signal(SIGUSR2)
    wait_until(lambda: one.gw.request().text == "2")
    assert seen() > 5


# --- refused ---

def test_a_missing_program(service, kind):
    one = service("-w", kind)
    one.path.unlink()
    one.refused(f"{one.path}: No such file or directory$")


def test_a_program_that_may_not_be_executed(service, kind):
    one = service("-w", kind)
    one.replace("", mode=0o644)
    one.refused(f"{one.path}: Permission denied$")


def test_no_program_at_all(service, kind):
    one = service("-w", kind)
    one.replace("no program\0")
    one.refused(f"{one.path}: Exec format error$")


@pytest.mark.parametrize("text,why", [
    ("exit 0", "does not know how to take over: restart instead"),
    ("exit 3", "--check ended with exit code 3"),
    ("kill -9 $$", "--check was ended by SIGKILL"),
    ("echo 'fcgi-lua: warning: x' >&2; echo 'fcgi-lua: why' >&2; exit 1",
     "why")])
def test_something_else_of_that_name(service, text, why):
    one = service()
    one.replace(f"#!/bin/sh\n{text}\n")
    one.refused(rf"(\S+ )?{why}$")


def test_a_script_with_a_syntax_error(service, kind):
    one = service("-w", kind)
    one.write("this is no Lua")
    one.refused(r".*app\.lua:1: syntax error near 'is'")


def test_a_script_that_raises(service, kind):
    one = service("-w", kind)
    one.write("error 'no database'")
    one.refused(r".*no database")
    one.write(SCRIPT)
    one.upgrade()


def test_a_script_that_loads_for_ever(service, kind):
    one = service("-w", kind, "--load-timeout=300ms")
    one.write("while true do end")
    one.refused(r".*--load-timeout")


def test_a_check_that_hangs(service, kind):
    one = service("-w", kind, "--load-timeout=100ms")
    one.replace("#!/bin/sh\nexec sleep 1000\n")
    one.refused("the check was not over within --load-timeout$")


def test_a_later_one_may_go_well(service, kind):
    one = service("-w", kind)
    one.replace("#!/bin/sh\nexit 1\n")
    one.refused("")
    one.replace()
    one.upgrade()


@pytest.mark.parametrize("what", ["program", "folder"])
def test_root_starts_nothing_that_others_can_change(service, tmp_path, what):
    one = service()
    if not IS_ROOT:
        one.upgrade()       # it may be anybody's own
        return
    path = one.path if what == "program" else tmp_path
    path.chmod(0o777)
    one.refused(rf"root does not start {one.path}, which others can change: "
                rf"everybody can write to {path} \(chmod o-w it\)$")


def test_a_check_has_no_effects(service, kind, tmp_path):
    """It writes no pid file and no log, and binds nothing."""
    log = tmp_path / "log"
    one = service("-w", kind, f"--log={log}", f"--pid={tmp_path}/pid")
    wait_until(log.exists)
    log.rename(tmp_path / "moved")
    one.replace("#!/bin/sh\nexit 1\n")
    pid = (tmp_path / "pid").stat().st_ino
    one.gw.signal(SIGUSR2)
    wait_until(lambda: "not upgraded" in (tmp_path / "moved").read_text())
    one.replace()
    one.write("oh no")
    one.gw.signal(SIGUSR2)
    wait_until(lambda: (tmp_path / "moved").read_text().count("not upgraded")
               == 2)
    assert not log.exists()
    assert (tmp_path / "pid").stat().st_ino == pid


# --- the new program cannot serve after all ---

# A check runs no hooks.
FAILS = SCRIPT + """
function on_start() error "not today" end
"""


def test_the_old_generation_serves_on(service, kind):
    one = service("-w", kind)
    one.write(FAILS)
    with one.gw.connect() as conn:
        assert conn.request(1).text.startswith("1 ")
        one.gw.signal(SIGUSR2)
        one.gw.wait_log("not today")
        one.gw.wait_log("not upgraded|the upgrade failed, generation 1 goes on")
        assert conn.request(1).text.startswith("1 ")
        assert one.generation() == 1
        one.write(SCRIPT)
        one.gw.signal(SIGUSR2)
        wait_until(lambda: one.generation() > 1)
        # The connection changes hands a moment later.
        wait_until(lambda: int(conn.request(1).text.split()[0]) > 1)
    assert one.gw.alive()


def test_on_worker_fails(service, kind):
    one = service("-w", kind)
    one.write(SCRIPT + "function on_worker() error 'no worker' end")
    one.gw.signal(SIGUSR2)
    one.gw.wait_log("no worker")
    one.gw.wait_log("not upgraded|is not fit to serve")
    assert one.generation() == 1
    one.write(SCRIPT)
    one.gw.signal(SIGHUP)
    wait_until(lambda: one.generation() > 1)


def test_a_stop_while_the_old_process_serves(service):
    one = service()
    one.write(FAILS)
    one.gw.signal(SIGUSR2)
    one.gw.wait_log("not upgraded")
    assert one.generation() == 1
    one.gw.signal(SIGTERM)
    assert one.gw.wait() == 0
    assert "on_exit stop" in one.gw.log()
    assert not os.path.exists(one.gw.address)


def test_the_old_process_dies(service):
    """Then the new program is started anew, from nothing."""
    one = service()
    one.write(FAILS)
    one.gw.signal(SIGUSR2)
    one.gw.wait_log("not upgraded")
    pid = int(one.gw.request().text.split()[1])
    assert pid != one.pid
    one.write(SCRIPT)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: one.gw.request().text.split()[1] == str(one.pid))


# --- signals that come together ---

def test_two_at_once(service, kind):
    """The second has the program checked again; it is not lost."""
    one = service("-w", kind)
    one.gw.signal(SIGUSR2)
    one.gw.wait_log("checking")
    one.gw.signal(SIGUSR2)
    wait_until(lambda: one.gw.log().count("checking") == 2)
    wait_until(lambda: one.gw.log().count("takes over") in (1, 2))
    one.wait_for(2)
    assert "not upgraded" not in one.gw.log()
    assert one.gw.stop() == 0


def test_an_upgrade_during_a_reload(service, kind):
    one = service("-w", kind)
    one.gw.signal(SIGHUP)
    one.gw.signal(SIGUSR2)
    one.gw.wait_log("takes over")
    one.wait_for(2)
    one.gw.signal(SIGUSR2)
    one.gw.signal(SIGHUP)
    wait_until(lambda: one.gw.log().count("takes over") == 2)
    one.wait_for(3)


@pytest.mark.parametrize("moment", ["checking", "takes over", "serves"])
def test_a_stop_during_an_upgrade(service, kind, moment):
    one = service("-w", kind)
    one.gw.signal(SIGUSR2)
    one.gw.wait_log("generation 2 serves" if moment == "serves" else moment)
    one.gw.signal(SIGTERM)
    assert one.gw.wait() == 0
    wait_until(lambda: children(one.pid) == [])
    assert not os.path.exists(one.gw.address)


def test_a_stop_waits_for_old_requests(service, kind):
    one = service("-w", kind)
    with one.gw.connect() as busy:
        busy.begin(1)
        busy.params(1, fastcgi.default_params({"WAIT": "1"}))
        busy.wait_stdout(1)
        one.upgrade()
        one.gw.signal(SIGTERM)
        one.gw.wait_log("SIGTERM")
        busy.stdin(1, b"")
        assert busy.collect(1).text.startswith("waited 1 ")
    assert one.gw.wait() == 0


def test_a_stop_of_the_whole_group_waits_too(service, kind):
    """As systemd does it: each process gets the signal."""
    one = service("-w", kind, start_new_session=True)
    with one.gw.connect() as busy:
        busy.begin(1)
        busy.params(1, fastcgi.default_params({"WAIT": "1"}))
        busy.wait_stdout(1)
        one.upgrade()
        os.killpg(one.pid, SIGTERM)
        one.gw.wait_log(r"SIGTERM")
        busy.stdin(1, b"")
        assert busy.collect(1).text.startswith("waited 1 ")
    assert one.gw.wait() == 0


def test_logs_are_reopened_in_all_processes(service, kind, tmp_path):
    log = tmp_path / "log"
    one = service("-w", kind, f"--log={log}", "--log-level=info")
    with one.gw.connect() as busy:
        busy.begin(1)
        busy.params(1, fastcgi.default_params({"WAIT": "1"}))
        busy.wait_stdout(1)
        one.upgrade()
        log.rename(tmp_path / "old")
        one.gw.signal(SIGUSR1)
        wait_until(log.exists)
        busy.stdin(1, b"")
        busy.collect(1)
        wait_until(lambda: "on_exit upgrade" in log.read_text() or
                   "on_exit upgrade" in (tmp_path / "old").read_text())


def test_rotated_logs_are_let_go(service, kind, tmp_path):
    """Else the space of a file that is removed stays taken."""
    logs = [tmp_path / "log", tmp_path / "access"]
    one = service("-w", kind, f"--log={logs[0]}", f"--access-log={logs[1]}")
    one.upgrade()
    wait_until(lambda: logs[0].read_text().count("on_exit upgrade")
               == int(kind))
    old = [log.rename(f"{log}.1") for log in logs]
    one.gw.signal(SIGUSR1)
    wait_until(lambda: all(log.exists() for log in logs))

    def holders():
        found = subprocess.run(
            ["find", *[f"/proc/{pid}/fd" for pid in family(one.pid)],
             "-lname", f"{tmp_path}/*.1"], capture_output=True, text=True,
            check=False)
        return found.stdout.split()
    assert all(path.exists() for path in old)
    wait_until(lambda: not holders(), "processes without the old logs")


# --- another user, systemd ---

def test_as_another_user(service, kind, tmp_path):
    """The logs and the pid file were root's to open, the folder was not to be
    seen: all of it passes on."""
    user = "nobody" if IS_ROOT else str(os.geteuid())
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.geteuid() and str(folder) != "/":
            folder.chmod(folder.stat().st_mode | 0o011)
    one = service("-w", kind, "-u", user, f"--log={secret}/log",
                  f"--access-log={secret}/access", f"--pid={secret}/pid")
    one.gw.folder.chmod(0o755)
    for n in range(2, 4):
        one.gw.signal(SIGUSR2)
        one.wait_for(n)
    pid = int(one.gw.request().text.split()[1])
    uid = pwd.getpwnam("nobody").pw_uid if IS_ROOT else os.geteuid()
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status.read()
    before = (secret / "access").read_text().count("\n")
    one.gw.request()
    wait_until(lambda: (secret / "access").read_text().count("\n") > before)
    assert one.gw.stop() == 0
    log = (secret / "log").read_text()
    assert " error " not in log and "stopped" in log
    assert "on_exit stop" in log


def test_systemd_hears_of_it(service, kind, tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(fastcgi.DEADLINE)
        one = service("-w", kind, env={"NOTIFY_SOCKET": address})

        def hear(name):
            while True:
                lines = manager.recv(4096).decode().splitlines()
                message = dict(line.split("=", 1) for line in lines)
                assert "MAINPID" not in message
                if name in message:
                    return message

        hear("READY")
        for _ in range(2):
            one.gw.signal(SIGUSR2)
            assert int(hear("RELOADING")["MONOTONIC_USEC"]) > 0
            hear("READY")
        one.replace("#!/bin/sh\nexit 1\n")
        one.gw.signal(SIGUSR2)
        hear("RELOADING")
        assert hear("READY")["STATUS"].startswith("not upgraded")
        one.gw.signal(SIGTERM)
        hear("STOPPING")
        assert one.gw.wait() == 0


def test_the_watchdog_is_fed_on(service, kind, tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(fastcgi.DEADLINE)
        one = service("-w", kind, env={"NOTIFY_SOCKET": address,
                                       "WATCHDOG_USEC": "200000"})
        one.upgrade()
        manager.setblocking(False)
        try:
            while True:
                manager.recv(4096)
        except BlockingIOError:
            manager.settimeout(fastcgi.DEADLINE)
        while manager.recv(4096) != b"WATCHDOG=1\n":
            pass


def test_sockets_of_systemd(tmp_path, kind):
    """They are passed once; the variables are of no use to the new program."""
    path = tmp_path / "fcgi-lua"
    shutil.copy(program(), path)
    app = tmp_path / "app.lua"
    app.write_text(SCRIPT)
    address = str(tmp_path / "socket")
    with open(tmp_path / "log", "wb") as log, \
            socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()

        def pass_on():
            os.dup2(listener.fileno(), 3)

        child = subprocess.Popen(
            ["sh", "-c", f"LISTEN_PID=$$ exec {path} -w {kind} {app}"],
            preexec_fn=pass_on, close_fds=False, stderr=log,
            env=environment({"LISTEN_FDS": "1"}), stdin=subprocess.DEVNULL)
    try:
        for n in (1, 2, 3):
            wait_until(lambda: fastcgi.request(address).text.startswith(
                f"{n} "))
            child.send_signal(SIGUSR2)
    finally:
        child.terminate()
        assert child.wait(20) == 0, (tmp_path / "log").read_text()
    assert os.path.exists(address)      # systemd's


# --- the variable ---

def test_somebody_elses_variable_is_none(service):
    one = service(env={"FCGI_LUA_UPGRADE": "1 pid=1 program=/p generation=1 "
                       "workers=0 spawned=0 listen=3,tcp,x"})
    assert "FCGI_LUA_UPGRADE was meant for another process" in one.gw.log()
    assert one.generation() == 1


@pytest.mark.parametrize("value,why", [
    ("", "it does not begin with a version"),
    ("9 x", "it has the version 9, and this program knows only 1"),
    ("1 pid=x", "pid is malformed, or there twice")])
def test_a_damaged_variable_is_refused(tmp_path, value, why):
    app = tmp_path / "app.lua"
    app.write_text(SCRIPT)
    result = subprocess.run(
        [program(), "-l", f"unix:{tmp_path}/s", app], capture_output=True,
        env=environment({"FCGI_LUA_UPGRADE": value}), text=True, timeout=20,
        check=False)
    assert result.returncode == 70
    assert result.stderr == f"fcgi-lua: FCGI_LUA_UPGRADE: {why}\n"
