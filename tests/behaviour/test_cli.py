"""The command line: options, their errors, where settings come from, logs.

SPDX-License-Identifier: MIT
"""
import os
import re
import stat

import pytest

from support import fastcgi
from support.gateway import run, wait_until
from support.lua import ECHO, EVAL, Lua, params_for

APP = "function on_request(req) return 200, {}, 'ok' end\n"


@pytest.fixture
def app(tmp_path):
    path = tmp_path / "app.lua"
    path.write_text(APP)
    return path


def size(text):
    """65536 for 64k or 65536."""
    number, unit = re.fullmatch(r"(\d+)([kKmMgG]?)", text).groups()
    return int(number) << {"": 0, "k": 10, "m": 20, "g": 30}[unit.lower()]


def seconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|m|h)?", text).groups()
    return float(number) * {"ms": 1e-3, "m": 60, "h": 3600}.get(unit, 1)


def config(*args, **run_args):
    """What --print-config shows: name -> (value, source)."""
    result = run("--print-config", *args, **run_args)
    assert result.code == 0, result
    found = {}
    for line in result.out.splitlines():
        match = re.fullmatch(r"(\S+) = (.*?)  \((.+)\)", line)
        assert match, line
        name, value, source = match.groups()
        if name in found:       # a list has a line for each
            value = f"{found[name][0]} {value}"
        found[name.replace("_", "-")] = value, source
    return found


# --- help and version ---

@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(option):
    result = run(option)
    assert result.code == 0 and result.err == ""
    assert result.out.startswith("Usage: fcgi-lua")
    for name in ("--listen", "--max-body", "--timeout", "--print-config",
                 "--lua-compat", "--stderr", "--block-limit"):
        assert name in result.out


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option):
    result = run(option)
    assert result.code == 0 and result.err == ""
    assert "fcgi-lua" in result.out and "Lua 5.4" in result.out
    assert "libev" in result.out


# --- usage errors ---

def usage_error(result, *words):
    assert result.code == 64, result
    assert result.out == ""
    assert result.err.startswith("fcgi-lua: "), result
    for word in words:
        assert word in result.err, result
    assert "Usage:" not in result.err or len(result.err) < 2000


def test_no_script_is_64():
    usage_error(run())


@pytest.mark.parametrize("option", ["--no-such-option", "-Z", "--max-bdoy=1",
                                    "--listen-x=1"])
def test_unknown_option_is_64(app, option):
    usage_error(run(option, app), option.split("=")[0])


@pytest.mark.parametrize("option", ["-l", "--listen", "-p", "-e", "-I",
                                    "--max-body", "--timeout", "--log"])
def test_missing_value_is_64(option):
    usage_error(run(option), option.lstrip("-"))


@pytest.mark.parametrize("option", [
    "--max-body=lots", "--max-body=-1", "--max-body=", "--max-body=10X",
    "--max-body=k", "--max-body=1.5k", "--max-body=99999999999999999999",
    "--max-body=9999999999G", "--max-params=x", "--max-params=0",
    "--max-spool=x", "--memory-limit=x", "--memory-limit=-5",
    "--max-conns=0", "--max-conns=-1", "--max-conns=x", "--max-conns=1.5",
    "--max-conns=99999999999999", "--max-reqs=0", "--max-reqs=70000000000",
    "--max-reqs=x", "--timeout=x", "--timeout=-1", "--timeout=",
    "--timeout=1y", "--timeout=nan", "--timeout=inf", "--timeout=1e400",
    "--block-limit=x", "--block-limit=-1", "--grace=soon", "--grace=-1",
    "--log-level=loud", "--log-level=", "--stderr=both", "--stderr=",
    "--lua-compat=5.2", "--lua-compat=", "--port=0x50", "--port=65536",
    "--port=-1", "--port=", "--port=http", "--workers=0", "--workers=x",
    "--workers=-1"])
def test_bad_value_is_64(app, option):
    name, _, value = option.partition("=")
    result = run("-t", option, app)
    usage_error(result, name.lstrip("-"))
    if value:
        assert value in result.err


@pytest.mark.parametrize("value", [
    "nowhere", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", ":", ":x", "",
    "unix:", "unix", "fd:", "fd:x", "fd:-1", "[::1]", "[::1]:x", "[::1:80",
    "::1:80:90", "unix:/tmp/x,mode=9", "unix:/tmp/x,mode=", "unix:/tmp/x,x=1",
    "unix:/tmp/x,mode", "unix:/tmp/x,owner=no-such-user-here",
    "unix:/tmp/x,group=no-such-group-here", "127.0.0.1:80,mode=0600",
    "tcp:127.0.0.1:80"])
def test_bad_address_is_64(app, value):
    usage_error(run("-t", f"--listen={value}", app), "listen")


def test_flag_takes_no_value(app):
    usage_error(run("--check=yes", app), "check")


def test_unix_path_of_over_107_bytes_is_refused(app):
    result = run("-l", "unix:/tmp/" + "x" * 120, app)
    assert result.code == 64 and "x" * 20 in result.err


def test_nothing_to_listen_on_is_64_and_says_what_to_try(app):
    result = run(app)
    assert result.code == 64
    first, *more = result.err.splitlines()
    assert first == ("fcgi-lua: nothing to listen on: fd 0 is not a "
                     "listening socket and LISTEN_FDS is not set")
    assert len(more) == 2 and "--http=:8080" in more[0] and "-l" in more[1]


def test_an_option_behind_the_script_is_told_of(app):
    result = run(app, "--http=:8080")
    assert result.code == 64
    assert "Options stand before the script" in result.err


def test_options_end_with_two_dashes(gateway):
    gw = gateway(None, "--", "x", wait=False, expect=66)
    assert gw.wait() == 66


# --- options that take effect ---

def test_options_after_the_script_are_its_arguments(gateway):
    gw = gateway("function on_request() return 200, {}, "
                 "table.concat(arg, ' ') end",
                 args=("--max-body=1", "-h", "--", "-V"))
    assert gw.request().text == "--max-body=1 -h -- -V"


def test_options_may_be_abbreviated_only_as_defined(app):
    usage_error(run("-t", "--max-", app))


def test_chdir(gateway, tmp_path):
    (tmp_path / "here").write_text("found")
    gw = gateway("function on_request() local f = io.open 'here' "
                 "return 200, {}, f and f:read 'a' or 'not there' end",
                 f"--chdir={tmp_path}")
    assert gw.request().text == "found"


def test_chdir_to_nowhere_is_told(app, tmp_path):
    result = run("-t", f"--chdir={tmp_path}/none", app)
    assert result.code != 0 and f"{tmp_path}/none" in result.err


def test_include_goes_in_front_of_the_path(gateway, tmp_path):
    gw = gateway("function on_request() return 200, {}, package.path end",
                 "-I", "/inc/one", "--include=/inc/two")
    path = gw.request().text
    for folder in ("/inc/one", "/inc/two"):
        assert f"{folder}/?.lua;{folder}/?/init.lua" in path
    assert path.startswith("/inc/")
    assert "/usr/share/lua/5.4/?.lua" in path


@pytest.mark.parametrize("version", ["5.1", "5.3"])
def test_lua_compat_appends_to_the_path(gateway, version):
    script = ("function on_request() return 200, {}, package.path .. '\\n' "
              ".. package.cpath end")
    path, cpath = gateway(script,
                          f"--lua-compat={version}").request().text.split()
    plain, plain_cpath = gateway(script).request().text.split()
    assert path.startswith(plain)
    assert f"/usr/share/lua/{version}/?.lua" in path[len(plain):]
    assert cpath == plain_cpath


def test_one_worker_is_this_process(gateway):
    gw = gateway("function on_request() local f = io.open '/proc/self/stat' "
                 "return 200, {}, f:read 'n' .. '' end", "-w", "1")
    assert gw.request().text == str(gw.pid)


def test_max_conns_and_max_reqs(gateway):
    gw = gateway(APP, "--max-conns=12", "--max-reqs=34")
    with gw.connect() as conn:
        values = conn.get_values()
        assert values[b"FCGI_MAX_CONNS"] == b"12"
        assert values[b"FCGI_MAX_REQS"] == b"34"


@pytest.mark.parametrize("limit,bytes", [("10", 10), ("1k", 1024),
                                         ("1K", 1024)])
def test_max_body_units(lua_with, limit, bytes):
    lua = lua_with(f"--max-body={limit}")
    assert lua(ECHO, body=b"x" * bytes).status == 200
    assert lua(ECHO, body=b"x" * (bytes + 1)).status == 413


@pytest.mark.parametrize("text", ["0.1", "100ms", "0.1s"])
def test_timeout_units(lua_with, text):
    assert lua_with(f"--timeout={text}")("fcgi.sleep(3600)").status == 504


def test_memory_limit_0_is_none(lua, lua_with):
    # Lua takes a buffer for all that may come.
    code = "return 200, {}, dump(io.open('/dev/null'):read(520 << 20))"
    assert lua(code).status == 500
    assert lua_with("--memory-limit=0").text(code) == "nil"


def test_memory_limit_is_512_mib_by_default(lua):
    assert lua("return 200, {}, '' .. #('x'):rep(600 << 20)").status == 500


def test_tmpdir_is_used_for_spools(lua_with, tmp_path):
    # Seen by its absence: files in it are unlinked at once.
    folder = tmp_path / "spool"
    folder.mkdir()
    lua = lua_with(f"--tmpdir={folder}")
    folder.rmdir()
    with lua.connect() as conn:
        conn.begin(2)
        conn.begin(1)
        conn.params(1, params_for("while not go do fcgi.sleep(0.005) end "
                                  "req:body() return 200"))
        conn.stdin(1, b"x" * (8 << 20))
        conn.params(2, params_for("go = true return 200"))
        conn.stdin(2)
        assert conn.collect(1).status == 413


# --- where settings come from ---

def test_print_config_shows_defaults(app):
    found = config(app)
    assert size(found["max-params"][0]) == 1 << 20
    assert size(found["max-spool"][0]) == 1 << 30
    assert size(found["max-body"][0]) == 0
    assert size(found["memory-limit"][0]) == 512 << 20
    assert found["max-conns"][0] == "1024"
    assert found["max-reqs"][0] == "1024"
    assert found["workers"][0] == "1"
    assert seconds(found["timeout"][0]) == 0
    assert seconds(found["block-limit"][0]) == 10
    assert seconds(found["grace"][0]) == 30
    assert found["log-level"][0] == "notice"
    assert found["stderr"][0] == "fcgi"
    assert {source for _, source in found.values()} == {"default"}


def test_precedence(tmp_path):
    app = tmp_path / "app.lua"
    app.write_text("return { on_request = print, max_reqs = 3, max_conns = 3,"
                   " max_body = 3 }")
    found = config("--max-reqs=1", app,
                   env={"FCGI_LUA_MAX_REQS": "2", "FCGI_LUA_MAX_CONNS": "2"})
    assert found["max-reqs"][0] == "1"
    assert found["max-conns"][0] == "2"
    assert found["max-body"][0] == "3"
    sources = [found[n][1] for n in ("max-reqs", "max-conns", "max-body",
                                     "grace")]
    assert len(set(sources)) == 4, sources
    assert "FCGI_LUA_MAX_CONNS" in sources[1] or "environment" in sources[1]


def test_last_of_an_option_wins(app):
    found = config("--max-reqs=1", "--max-reqs=2", app)
    assert found["max-reqs"][0] == "2"


@pytest.mark.parametrize("name,value,expected", [
    ("MAX_BODY", "64k", lambda v: size(v) == 65536),
    ("MAX_PARAMS", "10M", lambda v: size(v) == 10 << 20),
    ("TIMEOUT", "500ms", lambda v: seconds(v) == 0.5),
    ("GRACE", "2m", lambda v: seconds(v) == 120),
    ("LOG_LEVEL", "debug", lambda v: v == "debug"),
    ("STDERR", "log", lambda v: v == "log"),
    ("LISTEN", "unix:/tmp/a :9000", lambda v: "/tmp/a" in v and "9000" in v),
])
def test_environment(app, name, value, expected):
    found = config(app, env={"FCGI_LUA_" + name: value})
    assert expected(found[name.lower().replace("_", "-")][0])


def test_environment_listen_takes_effect(gateway, tmp_path):
    one, two = tmp_path / "1", tmp_path / "2"
    gw = gateway(APP, listen=None, address=str(two),
                 env={"FCGI_LUA_LISTEN": f"unix:{one} unix:{two}"})
    assert gw.request().text == "ok"
    assert fastcgi.request(str(one)).text == "ok"


def test_bad_value_in_the_environment_is_78(app):
    result = run("-t", app, env={"FCGI_LUA_MAX_BODY": "lots"})
    assert result.code == 78
    assert "FCGI_LUA_MAX_BODY" in result.err and "lots" in result.err


def test_unknown_variable_is_a_warning(app):
    result = run("-t", app, env={"FCGI_LUA_MAX_BDOY": "1"})
    assert result.code == 0 and "FCGI_LUA_MAX_BDOY" in result.err


# --- --pid ---

def test_pid_file(gateway, tmp_path):
    path = tmp_path / "pid"
    gw = gateway(APP, f"--pid={path}")
    assert path.read_text().strip() == str(gw.pid)
    assert gw.stop() == 0
    assert not path.exists()


def test_old_pid_file_is_replaced(gateway, tmp_path):
    path = tmp_path / "pid"
    path.write_text("123456789 and more\n")
    gw = gateway(APP, f"--pid={path}")
    wait_until(lambda: path.read_text().strip() == str(gw.pid), "its id")


def test_pid_file_that_cannot_be_made_is_73(app, tmp_path):
    result = run("-l", f"unix:{tmp_path}/s", f"--pid={tmp_path}/none/pid",
                 app)
    assert result.code == 73 and f"{tmp_path}/none/pid" in result.err
    assert not (tmp_path / "s").exists()


# --- logs ---

def test_log_file(gateway, tmp_path):
    path = tmp_path / "log"
    gw = gateway("print 'at load' function on_request() error 'broken' end",
                 f"--log={path}")
    assert gw.request().status == 500
    wait_until(lambda: "broken" in path.read_text(), "the log line")
    assert "at load" in path.read_text()
    assert "broken" not in gw.log()


def test_log_file_is_appended_to(gateway, tmp_path):
    path = tmp_path / "log"
    path.write_text("old line\n")
    gw = gateway("print 'new' " + APP, f"--log={path}")
    wait_until(lambda: "new" in path.read_text(), "the log line")
    assert path.read_text().startswith("old line\n")
    assert gw.stop() == 0


def test_log_file_is_not_for_everybody_to_write(gateway, tmp_path):
    path = tmp_path / "log"
    gateway("print 'x' " + APP, f"--log={path}")
    assert not stat.S_IMODE(path.stat().st_mode) & 0o022


def test_log_file_that_cannot_be_made_is_73(app, tmp_path):
    result = run("-l", f"unix:{tmp_path}/s", f"--log={tmp_path}/none/log",
                 app)
    assert result.code == 73 and f"{tmp_path}/none/log" in result.err


def test_log_dash_is_stderr(gateway):
    gw = gateway("print 'to stderr' " + APP, "--log=-")
    gw.wait_log("to stderr")


def test_full_log_device_stops_nothing(gateway):
    gw = gateway("function on_request() print 'x' error 'y' end",
                 "--log=/dev/full")
    for _ in range(5):
        assert gw.request().status == 500


def test_log_line_format(gateway):
    gw = gateway("function on_request() require('fcgi').log('warn', 'here') "
                 "return 200 end")
    gw.request()
    gw.wait_log(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warn "
                rf"\[{gw.pid}(/\d+)?\] .*here")


LEVELS = ["error", "warn", "notice", "info", "debug"]


@pytest.mark.parametrize("level", LEVELS)
def test_log_level(gateway, level):
    gw = gateway("local fcgi = require 'fcgi' function on_request() "
                 "for _, l in ipairs {'error', 'warn', 'notice', 'info', "
                 "'debug'} do fcgi.log(l, 'said ' .. l) end return 200 end",
                 f"--log-level={level}")
    gw.request()
    gw.barrier()
    said = set(re.findall(r"said (\w+)", gw.log()))
    assert said == set(LEVELS[:LEVELS.index(level) + 1])


def test_nothing_is_said_on_stdout(gateway):
    gw = gateway("print 'x' io.write 'y\\n' " + APP)
    gw.request()
    assert gw.stop() == 0
    assert gw.out() == ""


def test_journal_has_priorities_instead_of_times(gateway):
    # stderr is the stream that $JOURNAL_STREAM names.
    gw = gateway(
        "function on_request() require('fcgi').log('error', 'here') "
        "return 200 end", wrap=["sh", "-c", 'export JOURNAL_STREAM='
                                '$(stat -Lc %d:%i /proc/self/fd/2); '
                                'exec "$@"', "sh"])
    gw.request()
    gw.wait_log(r"^<3>.*here")
    assert not re.search(r"^\d{4}-\d\d-\d\dT", gw.log(), re.M)


def test_start_is_quiet_about_what_is_usual(gateway):
    gw = gateway(APP, "--log-level=warn")
    gw.request()
    assert gw.stop() == 0
    assert gw.log() == ""


def test_children_inherit_no_open_files(gateway):
    gw = gateway("function on_request() local p = io.popen "
                 "'ls -l /proc/self/fd' local s = p:read 'a' p:close() "
                 "return 200, {}, s end")
    listing = gw.request().text
    assert "socket:" not in listing and "eventpoll" not in listing


def test_signal_mask_and_sigpipe_of_children_are_normal(gateway):
    gw = gateway("function on_request() local p = io.popen "
                 "'grep -E \"Sig(Blk|Ign)\" /proc/self/status' "
                 "local s = p:read 'a' p:close() return 200, {}, s end")
    blocked = re.search(r"SigBlk:\s+(\w+)", gw.request().text).group(1)
    assert int(blocked, 16) == 0


def test_soft_limit_of_open_files_is_raised(gateway):
    gw = gateway(APP, wrap=["sh", "-c", 'ulimit -S -n 100; exec "$@"', "sh"])
    with open(f"/proc/{gw.pid}/limits") as limits:
        soft, hard = re.search(r"Max open files\s+(\d+)\s+(\d+)",
                               limits.read()).groups()
    assert soft == hard


def test_shared_options_work_together(gateway, tmp_path):
    lua = Lua(gateway(EVAL, "--max-body=1M", "--timeout=5",
                      "--block-limit=2", "--memory-limit=128M", "--grace=1",
                      "--stderr=log", "--log-level=debug", "-e", "x = 1",
                      "-I", tmp_path, "--lua-compat=5.3", "--max-spool=10M",
                      f"--tmpdir={tmp_path}", f"--pid={tmp_path}/pid",
                      "--chdir=/", "-w", "1"))
    assert lua(ECHO, body=b"x" * 1000).text == "x" * 1000
    assert os.path.exists(tmp_path / "pid")
