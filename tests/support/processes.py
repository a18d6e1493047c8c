"""What a service with several processes is made of, as a test sees it.

SPDX-License-Identifier: MIT
"""
import os
import re
import threading

from support.gateway import wait_until

# Says who it is: "ID PID GENERATION".
WHO = """
local fcgi = require "fcgi"
function on_request(req)
  return 200, {}, ("%d %d %d"):format(fcgi.worker.id, fcgi.worker.pid,
    fcgi.worker.generation)
end
"""


def serves(gw, number):
    """Until that generation serves."""
    gw.wait_log(rf"generation {number} serves")


def workers(gw, asks=40):
    """id -> pid of those that answered."""
    found = {}
    for _ in range(asks):
        number, pid, _ = gw.request().text.split()
        found[int(number)] = int(pid)
    return found


def all_workers(gw, count=2):
    """The same, of so many."""
    found = {}

    def have_all():
        found.update(workers(gw))
        return len(found) == count
    wait_until(have_all, "an answer of each worker")
    return found


def write(gw, text):
    """Replaces the script."""
    fresh = gw.folder / "fresh.lua"
    fresh.write_text(text)
    fresh.rename(gw.script)


def state(pid):
    """Of a process, as in /proc; None: there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def is_gone(pid):
    return state(pid) in (None, "Z")


def children(pid):
    """The processes that one has forked."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children",
                  encoding="ascii") as file:
            found += [int(child) for child in file.read().split()]
    return found


def one_generation(gw):
    """Until the processes of those before it have gone."""
    wait_until(lambda: len(children(gw.pid)) == 1, "one generation")


class Client(threading.Thread):
    """Asks on one kept connection, without a pause, until it is told to stop;
    every answer must be whole and match."""

    def __init__(self, gw, pattern=r"\d+ \d+ \d+"):
        super().__init__()
        self.gw, self.pattern = gw, re.compile(pattern)
        self.done, self.error, self.stopping = 0, None, False
        self.pids = []
        self.start()

    def run(self):
        try:
            with self.gw.connect() as conn:
                while not self.stopping:
                    response = conn.request(1)
                    assert self.pattern.fullmatch(response.text), response
                    pid = response.text.split()[1]
                    if not self.pids or self.pids[-1] != pid:
                        self.pids.append(pid)
                    self.done += 1
        except BaseException as error:
            self.error = error

    def finish(self):
        self.stopping = True
        self.join()
        assert self.error is None, self.error
        assert self.done > 0
