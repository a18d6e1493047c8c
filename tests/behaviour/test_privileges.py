"""-u: becoming another user once the sockets are bound; and what root does not
load.  CI runs as root; who is not tests what is left then.

SPDX-License-Identifier: MIT
"""
import grp
import os
import pathlib
import pwd
import re
import shutil
import stat
from signal import SIGUSR1

import pytest

from support import gateway as gateways
from support.gateway import run, wait_until

IS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
APP = "function on_request(req) return 200, {}, 'ok' end\n"
IDS = """
local function ids()
  local found = {}
  for line in io.lines "/proc/self/status" do
    local name, values = line:match "^(%a+):%s*(.-)%s*$"
    if name == "Uid" or name == "Gid" or name == "Groups" then
      found[#found + 1] = name .. " " .. values:gsub("%s+", " ")
    end
  end
  return table.concat(found, "\\n")
end
local loading = ids()
function on_request(req)
  return 200, {}, req:param "WHEN" == "loading" and loading or ids()
end
"""


def as_user(uid, folder, gid=65534):
    """Popen arguments for a start as another user, who may not reach the
    program where it is: a copy in a folder that every user reaches."""
    if not IS_ROOT:
        return {}
    return {"user": uid, "group": gid, "extra_groups": [],
            "executable": shutil.copy(gateways.program(), folder)}


def ids(gw, when="now"):
    """What /proc said: {"Uid": [real, effective, saved, file system], ...}"""
    lines = gw.request({"WHEN": when}).text.splitlines()
    return {name: list(map(int, rest)) for name, *rest in
            (line.split(" ") for line in lines)
            if rest != [""]}


@pytest.fixture
def app(tmp_path):
    path = tmp_path / "app.lua"
    path.write_text(APP)
    path.chmod(0o644)
    return path


@pytest.fixture
def anybodys(tmp_path):
    """A folder that every user reaches."""
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.geteuid() and folder != pathlib.Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    return tmp_path


# --- which user ---

@pytest.mark.parametrize("value,what", [
    ("", "names no user"), (":nogroup", "names no user"),
    ("nobody:", "names no group"), ("no-such-user", "does not exist"),
    ("nobody:no-such-group", "does not exist"), ("-1", "does not exist"),
    ("4294967295", "does not exist"), ("3000000", "name its group")])
def test_what_names_no_user_is_64(app, tmp_path, value, what):
    path = tmp_path / "s"
    for option in (["-u", value], [f"--user={value}"]):
        result = run("-l", f"unix:{path}", *option, app)
        assert result.code == 64 and what in result.err
        assert f'"{value}"' in result.err
    assert not path.exists()


@pytest.mark.parametrize("value", ["", "nobody:", "no-such-user"])
def test_elsewhere_it_is_78(app, tmp_path, value):
    listen = f"-lunix:{tmp_path}/s"
    result = run(listen, app, env={"FCGI_LUA_USER": value})
    assert result.code == 78 and "FCGI_LUA_USER" in result.err
    app.write_text("return { on_request = print, user = '%s' }" % value)
    result = run(listen, app)
    assert result.code == 78 and "user" in result.err
    assert not (tmp_path / "s").exists()


def test_help_and_print_config(app):
    assert "-u, --user=USER[:GROUP]" in run("--help").out
    result = run("-u", "nobody", "--print-config", app)
    assert result.code == 0
    assert "\nuser = nobody  (command line)\n" in result.out


# --- the drop ---

def test_all_ids_change_after_the_script_has_loaded(gateway):
    gw = gateway(IDS, "-u", "nobody") if IS_ROOT else gateway(IDS)
    if not IS_ROOT:
        assert ids(gw)["Uid"] == [os.geteuid()] * 4
        return
    assert ids(gw, "loading")["Uid"] == [0] * 4
    assert ids(gw)["Uid"] == [NOBODY.pw_uid] * 4
    assert ids(gw)["Gid"] == [NOBODY.pw_gid] * 4
    assert 0 not in ids(gw).get("Groups", [])
    assert re.search(f" notice .*serving as user {NOBODY.pw_uid}, group "
                     f"{NOBODY.pw_gid} ", gw.log())


@pytest.mark.parametrize("value,uid,gid", [
    ("nobody:tty", NOBODY.pw_uid, grp.getgrnam("tty").gr_gid),
    ("3000000:3000001", 3000000, 3000001),
    (f"{NOBODY.pw_uid}", NOBODY.pw_uid, NOBODY.pw_gid)])
def test_groups_and_numbers(gateway, value, uid, gid):
    if not IS_ROOT:
        uid, gid = os.geteuid(), os.getegid()
        value = f"{uid}:{gid}"
    gw = gateway(IDS, "-u", value)
    assert ids(gw)["Uid"] == [uid] * 4
    assert ids(gw)["Gid"] == [gid] * 4
    if uid == 3000000:
        assert "Groups" not in ids(gw)      # it is in none


def test_the_script_may_name_the_user(gateway):
    name = "nobody" if IS_ROOT else pwd.getpwuid(os.geteuid()).pw_name
    gw = gateway(IDS + f"return {{ on_request = on_request, user = '{name}' }}")
    assert ids(gw)["Uid"] == [pwd.getpwnam(name).pw_uid] * 4


def test_the_environment_is_left_alone(gateway):
    user = str(os.geteuid()) if not IS_ROOT else "nobody"
    gw = gateway("function on_request() return 200, {}, os.getenv 'HOME' "
                 ".. ' ' .. os.getenv 'USER' end", "-u", user,
                 env={"HOME": "/here", "USER": "me"})
    assert gw.request().text == "/here me"


def low_port():
    """One that is free and, on most machines, only root's."""
    with open("/proc/net/tcp") as table:
        taken = {int(line.split()[1].split(":")[1], 16)
                 for line in list(table)[1:]}
    return next(port for port in range(1023, 600, -1) if port not in taken)


def test_a_port_that_only_root_may_bind_is_bound_before(gateway, app):
    port = low_port()
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as setting:
        is_roots = port < int(setting.read())
    if not IS_ROOT and is_roots:
        assert run("-l", f"127.0.0.1:{port}", app).code == 69
        return
    user = "nobody" if IS_ROOT else str(os.geteuid())
    gw = gateway(IDS, "-u", user, listen=f"127.0.0.1:{port}",
                 address=("127.0.0.1", port))
    assert 0 not in ids(gw)["Uid"]


def test_who_is_not_root_stays_who_he_is(gateway, app, anybodys):
    me = as_user(3000000, anybodys)
    uid, gid = (3000000, 65534) if IS_ROOT else (os.geteuid(), os.getegid())
    for value in (f"{uid}:{gid}", f"{uid}:{gid + 1}", "nobody:tty", "root"):
        # bound where nobody may bind: reached only if the user is right
        result = run("-l", "unix:/proc/no/s", "-u", value, app, **me)
        if value == f"{uid}:{gid}":
            assert result.code == 69
        else:
            assert result.code == 77
            assert f"only root can become {value}, and this is user {uid}" \
                in result.err


def test_a_drop_that_fails_ends_the_start(app, tmp_path):
    if not IS_ROOT:
        assert run("-l", f"unix:{tmp_path}/s", "-u", "root", app).code == 77
        return
    result = run("-l", f"unix:{tmp_path}/s", "-u", "nobody", app,
                 wrap=["setpriv", "--bounding-set", "-setuid,-setgid",
                       "--inh-caps", "-setuid,-setgid"])
    assert result.code == 77 and "cannot become nobody: set" in result.err
    assert not (tmp_path / "s").exists()


# --- files of root's ---

def test_log_stays_usable(gateway, tmp_path):
    """Opened by root; the user can open it anew only if it may."""
    log = tmp_path / "log"
    user = "nobody" if IS_ROOT else str(os.geteuid())
    gw = gateway("function on_request() print 'printed' return 200, {}, 'ok' "
                 "end", f"--log={log}", "-u", user)
    gw.request()
    wait_until(lambda: log.read_text().count("printed") == 1, "the line")
    log.rename(tmp_path / "log.1")
    gw.signal(SIGUSR1)
    if not IS_ROOT:
        wait_until(log.exists, "the new log")
        return
    old = tmp_path / "log.1"        # in a folder of root's
    wait_until(lambda: re.search(
        r" error .*cannot reopen the log .*/log: Permission denied; the old "
        r"one stays in use", old.read_text()), "the line that says so")
    gw.request()
    wait_until(lambda: old.read_text().count("printed") == 2, "the line")
    assert not log.exists()


def test_log_in_a_folder_of_the_user_is_reopened(gateway, anybodys):
    folder = anybodys / "logs"
    folder.mkdir()
    user = "nobody" if IS_ROOT else str(os.geteuid())
    if IS_ROOT:
        os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    log = folder / "log"
    gw = gateway(APP, f"--log={log}", "-u", user)
    log.rename(folder / "log.1")
    gw.signal(SIGUSR1)
    wait_until(log.exists, "the new log")
    assert log.stat().st_uid == (NOBODY.pw_uid if IS_ROOT else os.geteuid())


def test_pid_file_and_socket_in_a_folder_of_the_user_go(gateway, anybodys):
    folder = anybodys / "run"
    folder.mkdir()
    user = "nobody" if IS_ROOT else str(os.geteuid())
    if IS_ROOT:
        os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    gw = gateway(APP, f"--pid={folder}/pid", "-u", user,
                 listen=f"unix:{folder}/s", address=f"{folder}/s")
    assert (folder / "pid").read_text() == f"{gw.pid}\n"
    assert gw.stop() == 0
    assert list(folder.iterdir()) == []


def test_pid_file_and_socket_in_a_folder_of_roots_stay(gateway, anybodys):
    """Said in the log; the pid file is empty, and the next start takes both
    over."""
    folder = anybodys / "run"
    folder.mkdir(0o755)
    user = "nobody" if IS_ROOT else str(os.geteuid())
    for _ in range(2):
        gw = gateway(APP, f"--pid={folder}/pid", "-u", user,
                     listen=f"unix:{folder}/s", address=f"{folder}/s")
        assert (folder / "pid").read_text() == f"{gw.pid}\n"
        assert gw.stop() == 0
        if not IS_ROOT:
            assert list(folder.iterdir()) == []
            continue
        assert (folder / "pid").read_text() == ""
        assert stat.S_ISSOCK((folder / "s").stat().st_mode)
        for name in ("pid", "s"):
            assert re.search(rf" notice .*{folder}/{name} stays", gw.log())


def test_what_cannot_be_reached_stays_too(gateway, tmp_path):
    """In a folder that the user may not even enter."""
    folder = tmp_path / "run"
    folder.mkdir(0o700)
    user = "nobody" if IS_ROOT else str(os.geteuid())
    gw = gateway(APP, f"--pid={folder}/pid", "-u", user,
                 listen=f"unix:{folder}/s", address=f"{folder}/s")
    assert gw.stop() == 0
    if not IS_ROOT:
        assert list(folder.iterdir()) == []
        return
    assert (folder / "pid").read_text() == ""
    for name in ("pid", "s"):
        assert re.search(rf" notice .*{folder}/{name} stays", gw.log())


def test_socket_keeps_the_owner_that_was_asked_for(gateway, anybodys):
    path = anybodys / "s"
    user = "nobody" if IS_ROOT else str(os.geteuid())
    group = f",group={NOBODY.pw_gid}" if IS_ROOT else ""
    gateway(APP, "-u", user, listen=f"unix:{path},mode=0660{group}",
            address=str(path))
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_uid == os.geteuid()
    if IS_ROOT:
        assert found.st_gid == NOBODY.pw_gid


# --- scripts that others can change ---

def check(path, **args):
    result = run("-t", path, **args)
    assert result.code in (0, 77), result
    if result.code == 77:
        assert result.err.startswith("fcgi-lua: ")
        assert "start it as another user" in result.err
    return result


def test_files_of_roots_pass(app):
    """All is root's in most containers."""
    for mode in (0o644, 0o755, 0o600, 0o664):
        app.chmod(mode)
        assert check(app).code == 0


@pytest.mark.parametrize("mode,uid,gid,what", [
    (0o666, 0, 0, "everybody can write to"),
    (0o646, 0, 0, "everybody can write to"),
    (0o664, 0, 65534, "can write to"),
    (0o644, 65534, 0, "belongs to nobody"),
    (0o400, 65534, 65534, "belongs to nobody")])
def test_script_that_others_can_change_is_77(app, mode, uid, gid, what):
    app.chmod(mode)
    if not IS_ROOT:
        assert check(app).code == 0     # nothing can be gained
        return
    os.chown(app, uid, gid)
    result = check(app)
    assert result.code == 77
    assert what in result.err and str(app) in result.err


def test_folder_that_others_can_change_is_77(app, tmp_path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    inner = folder / "app.lua"
    inner.write_text(APP)
    inner.chmod(0o644)
    assert check(inner).code == 0
    (tmp_path / "a").chmod(0o777)
    result = check(inner)
    assert result.code == (77 if IS_ROOT else 0)
    assert not IS_ROOT or f"{tmp_path}/a (" in result.err
    (tmp_path / "a").chmod(0o1777)
    assert check(inner).code == 0


def test_relative_paths_and_chdir(app, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "app.lua").write_text(APP)
    folder.chmod(0o777)
    refused = 77 if IS_ROOT else 0
    assert check("app.lua", cwd=folder).code == refused
    assert run("-t", f"--chdir={folder}", "app.lua").code == refused
    assert run("-t", f"--chdir={tmp_path}", "app.lua", cwd=folder).code == 0


def test_links_are_judged_at_both_ends(app, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "app.lua").write_text(APP)
    (folder / "link").symlink_to(app)
    folder.chmod(0o777)
    (tmp_path / "into").symlink_to("open/app.lua")
    (tmp_path / "fine").symlink_to("app.lua")
    refused = 77 if IS_ROOT else 0
    assert check(folder / "link").code == refused
    assert check(tmp_path / "into").code == refused
    assert check(tmp_path / "fine").code == 0


@pytest.mark.parametrize("name", ["mod.lua", "mod/init.lua"])
def test_module_that_others_can_change_is_77(tmp_path, app, name):
    module = tmp_path / name
    module.parent.mkdir(exist_ok=True)
    module.write_text("return 'it'")
    app.write_text("assert(require 'mod' == 'it')\n" + APP)
    assert run("-t", f"-I{tmp_path}", app).code == 0
    module.chmod(0o666)
    result = run("-t", f"-I{tmp_path}", app)
    assert result.code == (77 if IS_ROOT else 0)
    assert not IS_ROOT or (f"everybody can write to {module}" in result.err
                           and "app.lua:1:" in result.err)


def test_library_that_others_can_change_is_77(tmp_path, app):
    (tmp_path / "clib.so").write_text("not one")
    app.write_text(f"package.cpath = '{tmp_path}/?.so'\nrequire 'clib'\n")
    assert run("-t", app).code == 78        # it is tried
    (tmp_path / "clib.so").chmod(0o666)
    assert run("-t", app).code == (77 if IS_ROOT else 78)


def test_a_later_require_is_judged_too(gateway, tmp_path):
    module = tmp_path / "later.lua"
    module.write_text("return 'it'")
    script = f"""package.path = '{tmp_path}/?.lua'
    function on_request() return 200, {{}}, require 'later' end"""
    gw = gateway(script)
    module.chmod(0o666)
    assert gw.request().status == (500 if IS_ROOT else 200)
    module.chmod(0o644)
    assert gw.request().text == "it"
    if IS_ROOT:
        gw.wait_log(r"later.lua: refused, because fcgi-lua runs as root")


def test_after_the_drop_nothing_is_asked(gateway, anybodys):
    module = anybodys / "later.lua"
    module.write_text("return 'it'")
    module.chmod(0o666)
    user = "nobody" if IS_ROOT else str(os.geteuid())
    gw = gateway(f"""package.path = '{anybodys}/?.lua'
    function on_request() return 200, {{}}, require 'later' end""",
                 "-u", user)
    assert gw.request().text == "it"


def test_who_is_not_root_loads_anything(app, anybodys):
    app.chmod(0o666)
    assert check(app, **as_user(NOBODY.pw_uid, anybodys)).code == 0


def test_script_from_a_pipe(program):
    result = run("-t", "/dev/stdin", stdin=APP)
    assert result.code == 0
