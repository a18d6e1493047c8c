"""What systemd hears and passes, with a stand-in for it; and the units of
examples/deploy, judged by systemd's own tools.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import shutil
import socket
import subprocess
from signal import SIGTERM

import pytest

from support import fastcgi
from support.gateway import environment, program, run, wait_until

IS_ROOT = os.geteuid() == 0
APP = "function on_request(req) return 200, {}, 'ok' end\n"
DEPLOY = (pathlib.Path(__file__).resolve().parent.parent.parent / "examples" /
          "deploy")
UNITS = ["fcgi-lua.socket", "fcgi-lua.service", "fcgi-lua@.socket",
         "fcgi-lua@.service"]
VARIABLES = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS",
             "LISTEN_PID", "LISTEN_FDNAMES"]


class Manager:
    """Hears what services tell systemd."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.settimeout(fastcgi.DEADLINE)
        self.senders = set()

    def hear(self):
        """The next message as a dictionary."""
        data, control, _, _ = self.socket.recvmsg(4096, 256)
        for _, kind, value in control:
            if kind == socket.SCM_CREDENTIALS:
                self.senders.add(int.from_bytes(value[:4], "little"))
        lines = data.decode().rstrip("\n").split("\n")
        return dict(line.split("=", 1) for line in lines)

    def hear_until(self, name):
        """The first message that has this field; those before it."""
        before = []
        while True:
            message = self.hear()
            if name in message:
                return message, before
            before.append(message)

    def rest(self):
        """What has come by now and was not heard."""
        self.socket.setblocking(False)
        messages = []
        try:
            while True:
                messages.append(self.hear())
        except BlockingIOError:
            return messages
        finally:
            self.socket.settimeout(fastcgi.DEADLINE)


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    path = str(tmp_path / "notify")
    if request.param == "abstract":
        path = "@fcgi-lua-test" + path
    manager = Manager(path)
    yield manager
    manager.socket.close()


def started(gateway, manager, *args, env=None, script=APP, **more):
    return gateway(script, *args, env={"NOTIFY_SOCKET": manager.address,
                                       **(env or {})}, **more)


# --- notification ---

def test_ready_then_stopping(gateway, manager):
    gw = started(gateway, manager)
    assert manager.hear() == {"READY": "1", "STATUS": f"serving {gw.script}"}
    gw.request()
    assert manager.rest() == []
    assert gw.stop() == 0
    message = manager.hear()
    assert message["STOPPING"] == "1"
    assert message["STATUS"] == "stopping, 0 requests are under way"
    assert manager.rest() == []
    assert manager.senders == {gw.pid}      # the main process, no other


def test_ready_comes_when_it_accepts(gateway, manager):
    gw = started(gateway, manager, wait=False)
    manager.hear_until("READY")
    assert gw.request().text == "ok"        # at the first try


def test_stopping_comes_while_requests_run(gateway, manager):
    gw = started(gateway, manager, script="""function on_request(req)
        req:write "Content-Type: text/plain\\r\\n\\r\\n" req:flush()
        req:read() end""")
    manager.hear_until("READY")
    with gw.connect() as conn:
        conn.begin(1)
        conn.params(1)      # its body stays away
        gw.barrier()
        gw.signal(SIGTERM)
        message, _ = manager.hear_until("STOPPING")
        assert "1 requests are under way" in message["STATUS"]
        assert gw.alive()


def test_a_start_that_fails_says_nothing(manager, tmp_path):
    bad = tmp_path / "bad.lua"
    bad.write_text("error 'broken'")
    env = {"NOTIFY_SOCKET": manager.address}
    assert run("-l", f"unix:{tmp_path}/s", bad, env=env).code == 78
    bad.write_text(APP)
    assert run("-t", bad, env=env).code == 0        # nor does a check
    assert run("--print-config", bad, env=env).code == 0
    assert manager.rest() == []


def test_a_name_cannot_forge_a_message(gateway, manager):
    gw = started(gateway, manager, name="a\nMAINPID=1\n.lua")
    message = manager.hear()
    assert set(message) == {"READY", "STATUS"}
    assert "a\\x0aMAINPID=1" in message["STATUS"]
    gw.request()


def test_after_the_drop_it_still_speaks(gateway, manager, tmp_path):
    """The socket may be root's alone: it was connected before."""
    if manager.address[0] == "/":
        os.chmod(manager.address, 0o600)
    user = "nobody" if IS_ROOT else str(os.geteuid())
    gw = started(gateway, manager, "-u", user,
                 env={"WATCHDOG_USEC": "100000"})
    manager.hear_until("READY")
    manager.hear_until("WATCHDOG")
    assert gw.stop() == 0
    manager.hear_until("STOPPING")


@pytest.mark.parametrize("address", ["", "no-path", "/no/such/socket",
                                     "vsock:2:1"])
def test_an_address_of_no_use_is_a_warning(gateway, address):
    gw = gateway(APP, env={"NOTIFY_SOCKET": address})
    assert gw.request().text == "ok"
    assert re.search(rf" warn .*NOTIFY_SOCKET={address} cannot be used",
                     gw.log())


def test_a_manager_that_has_gone_is_told_once(gateway, manager):
    gw = started(gateway, manager, env={"WATCHDOG_USEC": "20000"})
    manager.hear_until("READY")
    manager.socket.close()
    gw.wait_log(r" warn .*systemd cannot be told \"WATCHDOG=1\"")
    assert gw.request().text == "ok"
    assert gw.stop() == 0
    assert gw.log().count("cannot be told") == 1


# --- the watchdog ---

def test_signs_of_life(gateway, manager):
    gw = started(gateway, manager, env={"WATCHDOG_USEC": "100000"})
    manager.hear_until("READY")
    for _ in range(5):
        _, before = manager.hear_until("WATCHDOG")
        assert before == []
    gw.signal(SIGTERM)
    assert gw.wait() == 0
    manager.hear_until("STOPPING")
    assert manager.senders == {gw.pid}


def test_signs_of_life_for_us_by_pid(gateway, manager):
    gw = started(gateway, manager, wrap=[
        "sh", "-c", 'WATCHDOG_USEC=100000 WATCHDOG_PID=$$ exec "$@"', "sh"])
    manager.hear_until("WATCHDOG")
    assert gw.request().text == "ok"


@pytest.mark.parametrize("env", [
    {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"},
    {"WATCHDOG_USEC": "x"}, {"WATCHDOG_PID": "1"}])
def test_no_signs_of_life_for_others(gateway, manager, env):
    gw = started(gateway, manager, env=env, script="""local fcgi = require 'fcgi'
        function on_request() fcgi.sleep(0.05) return 200, {}, 'ok' end""")
    manager.hear_until("READY")
    assert gw.request().text == "ok"
    assert manager.rest() == []


def test_a_loop_that_is_blocked_gives_none(gateway, manager):
    """Lua code that does not yield for many times the interval."""
    gw = started(gateway, manager, env={"WATCHDOG_USEC": "20000"},
                 script="""function on_request(req)
        local name = req:param "MARK"
        io.open(name .. ".begun", "w"):close()
        while not io.open(name .. ".heard") do end
        local until_when = os.clock() + 0.2
        while os.clock() < until_when do end
        io.open(name .. ".over", "w"):close()
        while not io.open(name .. ".go") do end
        return 200, {}, 'ok' end""")
    mark = gw.folder / "mark"
    manager.hear_until("WATCHDOG")
    with gw.connect() as conn:
        conn.start(1, {"MARK": str(mark)})
        wait_until(mark.with_suffix(".begun").exists, "the handler")
        manager.rest()
        mark.with_suffix(".heard").touch()
        wait_until(mark.with_suffix(".over").exists, "the end of the block")
        assert manager.rest() == []
        mark.with_suffix(".go").touch()
        manager.hear_until("WATCHDOG")
        assert conn.collect(1).text == "ok"


# --- the environment ---

def test_no_script_sees_the_variables(gateway, manager):
    """Neither the handler nor the top level, nor what they start."""
    names = ", ".join(f"'{name}'" for name in VARIABLES)
    gw = started(gateway, manager, script=f"""
        local function seen()
          local found = {{}}
          for _, name in ipairs {{ {names} }} do
            found[#found + 1] = os.getenv(name)
          end
          local shell = io.popen "env"
          for line in shell:lines() do
            if line:match "^LISTEN_" or line:match "^NOTIFY_"
               or line:match "^WATCHDOG_" then
              found[#found + 1] = line
            end
          end
          shell:close()
          return table.concat(found, " ")
        end
        local first = seen()
        function on_request() return 200, {{}}, first .. "|" .. seen() end""",
                 env={"WATCHDOG_USEC": "1000000", "LISTEN_FDS": "1",
                      "LISTEN_PID": "1", "LISTEN_FDNAMES": "x"})
    assert gw.request().text == "|"


# --- the socket that was passed, served by another user ---

def passed(listener, text):
    source = os.dup(listener.fileno())

    def place():
        high = os.dup2(source, 100)
        os.dup2(high, 3)

    return {"preexec_fn": place, "pass_fds": (3,),
            "wrap": ["sh", "-c", f'{text}; exec "$@"', "sh"]}


@pytest.mark.parametrize("how", ["-u", "User="])
def test_socket_activation_as_another_user(gateway, manager, tmp_path, how):
    """Bound by root where its user may not bind: with our own drop, and
    started as the user that systemd has made it."""
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    become, options = "", []
    if IS_ROOT and how == "-u":
        options = ["-u", "nobody"]
    elif IS_ROOT:
        become = "setpriv --reuid 65534 --regid 65534 --clear-groups "
        for folder in [tmp_path, *tmp_path.parents][:-1]:
            folder.chmod(folder.stat().st_mode | 0o055)
        if manager.address[0] == "/":
            os.chmod(manager.address, 0o666)
    more = passed(listener, "export LISTEN_FDS=1 LISTEN_PID=$$")
    if become:
        more["wrap"] = ["sh", "-c", "export LISTEN_FDS=1 LISTEN_PID=$$; "
                        f'exec {become} "$@"', "sh"]
    script = tmp_path / "app.lua"
    script.write_text("""function on_request()
        for line in io.lines "/proc/self/status" do
          if line:match "^Uid" then return 200, {}, line:match "%d+" end
        end end""")
    with listener:
        gw = started(gateway, manager, *options, listen=None, script=script,
                     address=str(path), **more)
        manager.hear_until("READY")
        uid = gw.request().text
        assert uid == ("65534" if IS_ROOT else str(os.geteuid()))
        assert gw.stop() == 0
    assert path.exists()        # systemd's own


# --- the units ---

def tool(name):
    path = shutil.which(name)
    assert path, f"{name} is not installed (package systemd)"
    return path


@pytest.fixture
def units(tmp_path):
    """The units with this program for the installed one."""
    for name in UNITS:
        text = (DEPLOY / name).read_text()
        if name.endswith(".service"):
            assert "/usr/local/bin/fcgi-lua " in text
        (tmp_path / name).write_text(
            text.replace("/usr/local/bin/fcgi-lua ", program() + " "))
    return tmp_path


def analyze(*args):
    return subprocess.run([tool("systemd-analyze"), *map(str, args)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=environment(), text=True, timeout=60)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_the_units(units, name):
    done = analyze("verify", "--man=no", units / name)
    # What it finds wrong with other units of this machine is not ours.
    ours = [line for line in done.stdout.splitlines() if "fcgi-lua" in line]
    assert done.returncode == 0 and not ours, done.stdout


def test_systemd_would_not_take_a_mistake(units):
    """That the test above can fail."""
    path = units / "fcgi-lua.service"
    path.write_text(path.read_text().replace("Type=notify", "Typ=notify"))
    done = analyze("verify", "--man=no", path)
    assert "fcgi-lua.service" in done.stdout and "Typ" in done.stdout


@pytest.mark.parametrize("name", [name for name in UNITS
                                  if name.endswith(".service")])
def test_services_are_hardened(units, name):
    """At most 1.5 of 10: a service without any of it has 9.6."""
    args = ["security", "--offline=yes", "--no-pager", "--threshold=15"]
    done = analyze(*args, units / name)
    assert done.returncode == 0, done.stdout
    bare = units / "bare.service"
    bare.write_text(re.sub(r"(?s)\nDynamicUser=.*?\n\[Install\]",
                           "\n[Install]", (units / name).read_text()))
    assert analyze(*args, bare).returncode != 0


def settings(path):
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines
                if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize("suffix", ["", "@"])
def test_units_fit_the_program(units, suffix):
    service = settings(units / f"fcgi-lua{suffix}.service")
    grace = re.search(r"--grace=(\d+)", service["ExecStart"])
    assert service["Type"] == "notify"
    assert int(service["TimeoutStopSec"]) > int(grace.group(1))
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    options = service["ExecStart"].split()[1:-1]
    assert run("--print-config", *options).code == 0
    # an option's default: code that blocks ends before systemd steps in
    limit = re.search(r"^block-limit = (\d+)", run("--print-config").out,
                      re.M)
    assert int(service["WatchdogSec"]) > 2 * int(limit.group(1))


def test_the_two_services_differ_in_their_instance_only(units):
    def directives(name):
        return [line for line in (units / name).read_text().splitlines()
                if line and line[0] not in "#["
                and not re.search(r"%i|^(StateDirectory|ExecStart|Requires|"
                                  r"After|Also|Description)=", line)]
    assert directives("fcgi-lua.service") == directives("fcgi-lua@.service")
