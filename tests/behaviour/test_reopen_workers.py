"""SIGUSR1 where several processes write to the logs: the one that could open
the files does so, and passes them on.  With --user, when CI runs as root, no
other process could.

SPDX-License-Identifier: MIT
"""
import os
import pwd
import signal

import pytest
from support.gateway import wait_until
from support.processes import all_workers, children, is_gone, serves

APP = """
local fcgi = require "fcgi"
function on_request(req)
  fcgi.log("warn", "wrote " .. req:path())
  return 200, {}, ("%d %d %d"):format(fcgi.worker.id, fcgi.worker.pid,
    fcgi.worker.generation)
end
"""
USER = "nobody" if os.geteuid() == 0 else str(os.geteuid())


def ask(gw, path):
    """Of both workers."""
    found = set()

    def have_both():
        found.add(gw.request({"SCRIPT_NAME": path,
                              "REQUEST_URI": path}).text.split()[0])
        return len(found) == 2
    wait_until(have_both, "an answer of each worker")


def rotate(gw, *logs):
    for log in logs:
        log.rename(f"{log}.{len(list(log.parent.glob(log.name + '*')))}")
    gw.signal(signal.SIGUSR1)
    wait_until(lambda: all(log.exists() for log in logs), "new files")


def opened(pid):
    """The files that a process has open."""
    names = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            names.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return names


def use_no_old(gw, folder):
    """Until no process of the service has a file open that was moved away."""
    def is_so():
        template, = children(gw.pid)
        return not any(name.startswith(str(folder)) and name[-1].isdigit()
                       for pid in [gw.pid, template, *children(template)]
                       for name in opened(pid))
    wait_until(is_so, "the old files closed")


@pytest.fixture
def service(gateway, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o755)
    gw = gateway(APP, "-w", "2", "-u", USER, f"--log={logs}/error",
                 f"--access-log={logs}/access", "--access-format=%r")
    wait_until(lambda: "generation 1 serves" in (logs / "error").read_text())
    return gw, logs / "error", logs / "access"


def test_all_processes_write_to_the_new_files(service):
    gw, errors, access = service
    ask(gw, "/before")
    rotate(gw, errors, access)
    use_no_old(gw, errors.parent)
    ask(gw, "/after")
    wait_until(lambda: access.read_text().count("/after") >= 2)
    text = errors.read_text()
    assert "/1] " in text and "/2] " in text
    assert text.count("wrote /after") >= 2 and "/before" not in text
    assert "cannot reopen" not in text


def test_a_worker_that_is_forked_later_has_the_new_files(service):
    gw, errors, access = service
    rotate(gw, errors, access)
    use_no_old(gw, errors.parent)
    for pid in all_workers(gw).values():
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: is_gone(pid))
    ask(gw, "/later")
    wait_until(lambda: access.read_text().count("/later") >= 2)
    assert errors.read_text().count("wrote /later") >= 2
    use_no_old(gw, errors.parent)


def test_a_generation_that_comes_later_has_the_new_files(service):
    gw, errors, access = service
    rotate(gw, errors, access)
    gw.signal(signal.SIGHUP)
    wait_until(lambda: "generation 2 serves" in errors.read_text())
    wait_until(lambda: len(children(gw.pid)) == 1)
    use_no_old(gw, errors.parent)


def test_a_log_that_cannot_be_reopened_stays(service):
    gw, errors, access = service
    folder = errors.parent
    old = folder.rename(folder.parent / "moved")
    gw.signal(signal.SIGUSR1)
    wait_until(lambda: (old / "error").read_text()
               .count("the old one stays in use") == 2, "two lines")
    ask(gw, "/kept")
    wait_until(lambda: (old / "access").read_text().count("/kept") >= 2)
    assert (old / "error").read_text().count("wrote /kept") >= 2


def test_root_follows_no_link_of_the_user(service):
    """The user that serves may own the folder of the logs, but not say which
    file root writes to."""
    gw, errors, access = service
    if os.geteuid() != 0:
        return      # it is the user itself that opens them
    folder, secret = errors.parent, errors.parent.parent / "secret"
    user = pwd.getpwnam(USER)
    os.chown(folder, user.pw_uid, user.pw_gid)
    old = access.rename(folder / "old")
    access.symlink_to(secret)
    os.chown(access, user.pw_uid, user.pw_gid, follow_symlinks=False)
    gw.signal(signal.SIGUSR1)
    wait_until(lambda: "cannot reopen the access log" in errors.read_text())
    assert f"{access} belongs to {USER}" in errors.read_text()
    assert "the old one stays in use" in errors.read_text()
    ask(gw, "/after")
    wait_until(lambda: old.read_text().count("/after") >= 2)
    assert not secret.exists()


def test_logs_on_stderr_and_stdout(gateway):
    """There is nothing to open."""
    gw = gateway(APP, "-w", "2", "--access-log=-", "--access-format=%r")
    serves(gw, 1)
    gw.signal(signal.SIGUSR1)
    ask(gw, "/after")
    wait_until(lambda: gw.out().count("/after") >= 2)
    assert gw.log().count("wrote /after") >= 2
    assert "error" not in gw.log()


def test_lines_of_requests_that_end_with_their_worker(gateway, tmp_path):
    """Are written, too: the worker has ended before its loop turned again."""
    access = tmp_path / "access"
    gw = gateway("""
function on_request(req) require("fcgi").sleep(3600) end
""", "-w", "2", f"--access-log={access}", "--access-format=%r")
    serves(gw, 1)
    with gw.connect() as conn:
        conn.start(1, {"REQUEST_URI": "/cut", "SCRIPT_NAME": "/cut"})
        conn.wait_taken()
        gw.signal(signal.SIGTERM)
        gw.wait_log("SIGTERM: stopping")
        gw.signal(signal.SIGTERM)
        assert gw.wait() == 0
    assert access.read_text() == "/cut\n"
