"""--watch: what is written to a file of the script serves a moment later.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import signal
import shutil

import pytest

from support.gateway import run, wait_until

SCRIPT = """
package.path = arg[0]:match("^(.*)/") .. "/?.lua"
local part = require "part"
function on_request(req)
  local more = req:param "MORE"
  if more then return 200, {}, tostring(require(more)) end
  return 200, {}, "app " .. part
end
"""

MODES = pytest.mark.parametrize("options", [[], ["-w", "2"]],
                                ids=["alone", "workers"])


class Site:
    """A folder with app.lua and part.lua, and a gateway that watches it."""

    def __init__(self, gateway, folder, *options, script=None, **args):
        self.folder = folder
        self.app = self.write("app.lua", SCRIPT)
        self.write("part.lua", "return 1")
        self.gw = gateway(script or self.app, "--watch", *options, **args)
        self.log = self.gw.log

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def replace(self, name, text):
        """As editors do: another file takes the name."""
        self.write(name + "~", text).rename(self.folder / name)

    def says(self, text, params=None):
        """Until all answers of a while are that text."""
        def is_said():
            return all(self.gw.request(params).text == text for _ in range(8))
        wait_until(is_said, f"answers {text!r}:\n{self.log()[-2000:]}")

    def loads(self):
        return len(re.findall(r"reloading|is loaded again", self.log()))


@pytest.fixture
def site(gateway, tmp_path):
    def make(*options, **args):
        return Site(gateway, tmp_path, *options, **args)
    return make


@MODES
def test_whatever_way_a_file_changes(site, options):
    here = site(*options)
    here.says("app 1")
    here.write("part.lua", "return 2")
    here.says("app 2")
    here.replace("part.lua", "return 3")
    here.says("app 3")
    (here.folder / "part.lua").unlink()
    here.gw.wait_log("module 'part' not found")
    here.says("app 3")
    here.write("part.lua", "return 4")
    here.says("app 4")
    with open(here.folder / "part.lua", "w") as part:    # in several steps
        part.write("return ")
        part.flush()
        part.write("5")
    here.says("app 5")
    here.replace("app.lua", SCRIPT.replace('"app "', '"new "'))
    here.says("new 5")


@MODES
def test_the_log_names_the_file_once(site, options):
    here = site(*options)
    here.says("app 1")
    here.write("part.lua", "return 2")
    here.says("app 2")
    assert len(re.findall(r" notice .*/part\.lua has changed",
                          here.log())) == 1
    assert here.loads() == 1


@MODES
def test_a_module_that_a_handler_loads_later(site, options):
    here = site(*options)
    here.write("late.lua", "return 'one'")
    here.says("one", {"MORE": "late"})
    before = here.loads()
    here.write("late.lua", "return 'two'")
    here.gw.wait_log(r"/late\.lua has changed")
    here.says("two", {"MORE": "late"})
    assert here.loads() == before + 1


@MODES
def test_a_mistake_that_is_mended(site, options):
    here = site(*options)
    here.says("app 1")
    here.write("app.lua", "x =")
    here.gw.wait_log(r"app\.lua:1: unexpected symbol near <eof>")
    here.says("app 1")
    here.write("app.lua", SCRIPT.replace("part", "other"))
    here.gw.wait_log("module 'other' not found")
    here.says("app 1")
    here.write("other.lua", "return 'other'\n(")    # a file that is new
    here.gw.wait_log(r"other\.lua:\d: ")
    here.says("app 1")
    here.write("other.lua", "return 'other'")
    here.says("app other")


def test_what_was_touched_has_not_changed(site):
    here = site()
    here.says("app 1")
    os.utime(here.folder / "part.lua")
    here.replace("part.lua", "return 1")        # checked out as it was
    here.replace("app.lua", SCRIPT)
    here.write("other.lua", "return 0")         # nobody loads it
    here.write("part.txt", "return 0")
    here.says("app 1")
    here.write("part.lua", "return 2")
    here.says("app 2")
    assert here.loads() == 1


def test_a_file_that_is_not_lua_is_not_watched(site):
    here = site()
    here.write("settings.txt", "return 'one'")
    here.write("part.lua", "return dofile((arg[0]:gsub('app.lua$', "
                           "'settings.txt')))")
    here.says("app one")
    before = here.loads()
    here.write("settings.txt", "return 'two'")
    here.write("part.lua", "return 3")
    here.says("app 3")
    assert here.loads() == before + 1


def test_a_script_of_any_name_is_watched(site, tmp_path):
    path = tmp_path / "site.fcgi"
    path.write_text("function on_request() return 200, {}, 'one' end")
    here = site(script=path)
    here.says("one")
    path.write_text("function on_request() return 200, {}, 'two' end")
    here.says("two")


@MODES
def test_a_link_that_leads_elsewhere(gateway, tmp_path, options):
    """Deployments switch a link from one folder to the next."""
    for number in "1", "2", "3":
        release = tmp_path / "releases" / number
        release.mkdir(parents=True)
        (release / "app.lua").write_text(SCRIPT)
        (release / "part.lua").write_text(f"return {number}")
    current = tmp_path / "current"
    current.symlink_to("releases/1")
    gw = gateway(current / "app.lua", "--watch", *options)

    def says(text):
        wait_until(lambda: all(gw.request().text == text for _ in range(8)))
    says("app 1")
    for number in "2", "3":
        fresh = tmp_path / "fresh"
        fresh.symlink_to(tmp_path / "releases" / number)
        fresh.rename(current)
        says("app " + number)
    (tmp_path / "releases" / "3" / "part.lua").write_text("return 33")
    says("app 33")
    shutil.rmtree(tmp_path / "releases")
    gw.wait_log("cannot open ")
    (tmp_path / "releases" / "3").mkdir(parents=True)
    (tmp_path / "releases" / "3" / "part.lua").write_text("return 4")
    (tmp_path / "releases" / "3" / "app.lua").write_text(SCRIPT)
    says("app 4")


def test_hup_reloads_as_well(site):
    here = site()
    here.says("app 1")
    here.gw.signal(signal.SIGHUP)
    here.gw.wait_log("generation 2 serves")
    here.write("part.lua", "return 2")
    here.says("app 2")


@MODES
def test_without_it_nothing_is_watched(gateway, tmp_path, options):
    (tmp_path / "app.lua").write_text(SCRIPT)
    (tmp_path / "part.lua").write_text("return 1")
    gw = gateway(tmp_path / "app.lua", *options)
    assert gw.request().text == "app 1"
    for fd in pathlib.Path(f"/proc/{gw.pid}/fd").iterdir():
        assert "inotify" not in os.readlink(fd)


# --- a script that does not load at the start --------------------------------

@MODES
def test_the_start_waits_for_mending(gateway, tmp_path, options):
    path = tmp_path / "app.lua"
    path.write_text("local part = require 'part'\nx =")
    gw = gateway(path, "--watch", *options, wait=False)
    gw.wait_log(r"fcgi-lua: \S*app\.lua:2: unexpected symbol")
    gw.wait_log("--watch: waiting for a change")
    path.write_text(SCRIPT)
    gw.wait_log("module 'part' not found")
    (tmp_path / "part.lua").write_text("return 1")
    gw.wait_ready()
    assert gw.request().text == "app 1"
    (tmp_path / "part.lua").write_text("return 2")
    wait_until(lambda: gw.request().text == "app 2")


def test_settings_of_a_script_that_failed_do_not_stay(gateway, tmp_path):
    path = tmp_path / "app.lua"
    socket = tmp_path / "socket"
    path.write_text(f"return {{ listen = 'unix:{socket}', grace = 'x' }}")
    gw = gateway(path, "--watch", listen=None, wait=False)
    gw.wait_log("--watch: waiting for a change")
    path.write_text(f"return {{ listen = 'unix:{socket}.2',"
                    " on_request = function() return 200, {}, 'fine' end }")
    gw.address = f"{socket}.2"
    wait_until(lambda: os.path.exists(gw.address))
    gw.wait_ready()
    assert gw.request().text == "fine"
    assert not socket.exists()


def test_what_waits_ends_when_told(gateway, tmp_path):
    path = tmp_path / "app.lua"
    path.write_text("x =")
    gw = gateway(path, "--watch", wait=False, expect=None)
    gw.wait_log("--watch: waiting for a change")
    assert gw.stop() == -signal.SIGTERM


def test_check_and_print_config_do_not_wait(tmp_path):
    path = tmp_path / "app.lua"
    path.write_text("x =")
    assert run("--watch", "-t", path).code == 65
    assert run("--dev", "--print-config", path).code == 65
