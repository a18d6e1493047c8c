"""examples/deploy/OPERATIONS.md says what is true: its commands are run on a
service that was started as it says, in order, and its names exist.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import subprocess
import urllib.request

import pytest

from support.gateway import (PROJECT, environment, free_port, program,
                             wait_until)

PAGE = (PROJECT / "examples/deploy/OPERATIONS.md").read_text()
SHELL = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
SCRIPT = "function on_request(req) return 200, {}, 'hi' end\n"


class Place:
    """The page's paths, below a folder of ours."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        for name in ("srv/app", "run/app", "var/log/app", "bin"):
            (folder / name).mkdir(parents=True)
        for path in (folder, *folder.parents[:2], *folder.rglob("*")):
            if folder in (path, *path.parents):
                path.chmod(0o755)
        (folder / "srv/app/app.lua").write_text(SCRIPT)
        (folder / "bin/fcgi-lua").symlink_to(program())

    def translate(self, text):
        for part in ("/srv/app", "/run/app", "/var/log/app"):
            text = text.replace(part, str(self.folder) + part)
        text = text.replace("9180", str(self.port))
        if os.geteuid() != 0:  # only root can give files away
            text = text.replace(",mode=0660,group=www-data -u www-data", "")
        return text

    def run(self, block):
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-euc", self.translate(block)], text=True, timeout=60,
            env=environment({"PATH": path}), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False)
        assert done.returncode == 0, f"{block}\n{done.stdout}"
        return done.stdout

    def log(self, name="error.log"):
        return (self.folder / "var/log/app" / name).read_text()

    def status(self, query=""):
        with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/{query}", timeout=20) as page:
            return page.read().decode()


@pytest.fixture
def place(tmp_path_factory):
    """Started with the page's first command."""
    place = Place(tmp_path_factory.mktemp("operations"))
    start = place.translate(SHELL[0]).replace("-w auto", "-w 2")
    with open(place.folder / "stderr", "wb") as err:
        child = subprocess.Popen(
            ["sh", "-c", "exec " + start], stderr=err, env=environment(
                {"PATH": f"{place.folder}/bin:{os.environ['PATH']}"}))
    try:
        wait_until(lambda: child.poll() is not None or serves(place, 1),
                   "the service")
        assert child.poll() is None, (place.folder / "stderr").read_text()
        yield place
        child.terminate()
        assert child.wait(30) == 0
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def serves(place, number):
    path = place.folder / "var/log/app/error.log"
    return path.exists() and f"generation {number} serves" in path.read_text()


def block_with(part):
    found, = [block for block in SHELL if part in block]
    return found


def test_the_commands_do_what_the_page_says(place):
    for number, part in ((2, "-HUP"), (3, "-USR2")):
        place.run(block_with(part))
        wait_until(lambda: serves(place, number), f"generation {number}")
    place.run(block_with("-TTIN"))
    wait_until(lambda: "SIGTTOU: 2 workers" in place.log(), "two workers")
    shown = place.run(block_with("curl"))
    assert "failed reloads:       0" in shown and "# EOF" in shown


def test_a_failed_reload_is_seen(place):
    (place.folder / "srv/app/app.lua").write_text("this is no Lua\n")
    place.run(block_with("-HUP").splitlines()[-1])
    wait_until(lambda: "the reload failed" in place.log(), "the log")
    wait_until(lambda: 'reloads_total{result="failed"} 1'
               in place.status("?openmetrics"), "the status page")


def test_every_metric_and_field_exists(place):
    metrics = place.status("?openmetrics")
    names = set(re.findall(r"`(fcgi_lua_\w+)", PAGE))
    assert len(names) > 5
    for name in names:
        assert re.search(rf"^{name}\b", metrics, re.M), name
    for label in re.findall(r"`(fcgi_lua_\w+\{[^}]*\})`", PAGE):
        assert label in metrics, label
    for field in ("failed reloads", "idle processes", "listen queue",
                  "memory"):
        assert f"`{field}`" in PAGE
        assert re.search(rf"^{field}:", place.status(), re.M), field


def test_every_option_exists():
    known = subprocess.run([program(), "--help"], text=True, check=True,
                           stdout=subprocess.PIPE).stdout
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)):
        assert re.search(rf"{option}\b", known), option


def test_logs_rotate(place):
    rules, = re.findall(r"^```logrotate\n(.*?)^```$", PAGE, re.M | re.S)
    config = place.folder / "logrotate.conf"
    config.write_text(place.translate(rules))
    config.chmod(0o644)
    subprocess.run(["logrotate", "--force", "--state",
                    str(place.folder / "state"), str(config)], check=True,
                   timeout=60)
    logs = place.folder / "var/log/app"
    wait_until(lambda: (logs / "error.log").exists() and
               (logs / "access.log").exists(), "new logs")
    assert "generation 1 serves" in (logs / "error.log.1").read_text()
    place.run(block_with("-HUP"))
    wait_until(lambda: serves(place, 2), "a line in the new log")
    assert "generation 2" not in (logs / "error.log.1").read_text()
