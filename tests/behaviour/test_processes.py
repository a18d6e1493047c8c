"""Programs that scripts run, on the real gateway: what they see, what is left
of them, and that they end with whoever started them.

SPDX-License-Identifier: MIT
"""
import os
import resource
import signal
import threading

import pytest

from support.gateway import wait_until
from support.lua import EVAL, Lua
from support.processes import children, is_gone, state, write

# GET /NAME calls it.  Those that run on say who they are in the log.
APP = """
local fcgi = require "fcgi"
local pages = {}

function start()
  local p = assert(fcgi.popen { "sh", "-c", "sleep 1000 & echo $!; wait" })
  fcgi.log("notice", "runs ", p.pid, " ", (p:read "l"), ".")
  return p
end

function pages.descriptors(req)
  return fcgi.run { "ls", "-l", "/proc/self/fd" }.stdout
end

function pages.worker(req)
  return ("%d %d %d"):format(fcgi.worker.id, fcgi.worker.pid,
    fcgi.worker.generation)
end

function pages.returns(req)
  kept = start()
  return "ok"
end

function pages.raises(req)
  kept = start()
  error "on purpose"
end

function pages.waits(req)
  kept = start()
  kept:read()
end

function pages.task(req)
  local task = fcgi.spawn(function()
    local p <close> = start()
    p:wait()
  end)
  fcgi.sleep(0.05)
  task:cancel()
  task:join()
  fcgi.log("notice", "the task has ended")
  req:body()
  return "ok"
end

function pages.cancelled_run(req)
  local task = fcgi.spawn(fcgi.run,
    { "sh", "-c", "echo $$ >$FIFO; sleep 1000", env = { FIFO = FIFO } })
  local pid = fcgi.run({ "cat", FIFO }).stdout:match "%d+"
  fcgi.log("notice", "runs ", pid, " ", pid, ".")
  task:cancel()
  req:body()
  return "ok"
end

-- Its end is that of its input, which nobody else may have open.
function pages.finish(req)
  server:close_write()
  return server:wait()
end

function pages.detached(req)
  fcgi.spawn(function() kept = start() end):detach():join()
  return "ok"
end

function pages.run(req)
  fcgi.log("notice", "waits for ", req:param "FIFO")
  local r = fcgi.run { "sh", "-c", "read x <$FIFO; echo $x; exit 7",
    env = { FIFO = req:param "FIFO" } }
  return r.status .. " " .. r.stdout
end

-- A program that serves request after request.
function pages.echo(req)
  local line = req:query_string()
  assert(server:write(line, "\\n"))
  return (server:read "l")
end

function on_worker()
  server = fcgi.popen { "cat" }
  fcgi.log("notice", "serves with ", server.pid, ".")
end

function on_request(req)
  return 200, {}, pages[req:path():sub(2)](req)
end
"""


def page(name, **more):
    return {"SCRIPT_NAME": "/" + name, **more}


def run(gw, code):
    """What code returns, as dump shows it."""
    return Lua(gw).text(
        f"return 200, {{}}, dump((function() {code} end)())")


def started(gw):
    """The program that runs, and what it has started."""
    found = gw.wait_log(r"runs (\d+) (\d+)\.")
    return int(found[1]), int(found[2])


def wait_gone(*pids):
    for pid in pids:
        wait_until(lambda pid=pid: is_gone(pid), f"the end of {pid}")


def no_zombies(gw, allowed=0):
    """Until the process has no children but those that live on."""
    wait_until(lambda: len(children(gw.pid)) == allowed,
               f"{allowed} children: {children(gw.pid)}")


# --- what they see ----------------------------------------------------------

@pytest.mark.parametrize("options", [(), ("-w", "2")], ids=["one", "workers"])
def test_descriptors_are_three(gateway, tmp_path, options):
    """With connections, logs, listening sockets and other programs open."""
    gw = gateway(APP, f"--access-log={tmp_path}/access", "--status=/status",
                 f"--log={tmp_path}/log", *options)
    with gw.connect() as conn:
        for number in (1, 2):
            conn.start(number, page("descriptors"))
        for number in (1, 2):
            lines = conn.collect(number).text.splitlines()[1:]
            found = {line.split()[8]: line.split()[10] for line in lines}
            assert sorted(found) == ["0", "1", "2", "3"]
            assert found["0"] == "/dev/null"
            assert found["1"].startswith("pipe:")
            assert found["2"].startswith("pipe:")
            assert found["3"].endswith("/fd")       # that of ls


def test_limit_of_files_is_the_one_of_the_start(gateway):
    def limit():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    gw = gateway(EVAL, preexec_fn=limit)
    assert run(gw, "return fcgi.run({'sh', '-c', 'ulimit -n'}).stdout") \
        == '"300\n"'
    gw.signal(signal.SIGUSR2)       # the new program has found it raised
    gw.wait_log("generation 2 serves")
    assert run(gw, "return fcgi.run({'sh', '-c', 'ulimit -n'}).stdout") \
        == '"300\n"'


def test_signals_are_as_any_program_expects(gateway):
    """Whoever started the gateway has ignored some."""
    def ignore():
        for sig in (signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(sig, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    gw = gateway(EVAL, preexec_fn=ignore)
    text = run(gw, "return fcgi.run({'grep', 'Sig', '/proc/self/status'})"
               ".stdout")
    assert "SigBlk:\t0000000000000000" in text
    assert "SigIgn:\t0000000000000000" in text
    assert run(gw, "return fcgi.run({'sh', '-c', 'exit 3'}).status") == "3"


# --- many -------------------------------------------------------------------

def test_a_hundred_at_once(gateway):
    """All run at the same time, each is reaped, nothing stays open."""
    gw = gateway(EVAL)
    assert run(gw, "return fcgi.run({'true'}).status") == "0"
    fds = gw.fds()
    assert run(gw, 
        "local tasks, inputs = {}, {} "
        "for i = 1, 100 do "
        "  inputs[i] = fcgi.popen { 'cat' } "
        "  tasks[i] = fcgi.spawn(function() "
        "    local got = inputs[i]:read 'l' "
        "    return got, inputs[i]:wait() "
        "  end) "
        "end "
        "local n = 0 "
        "for i, p in ipairs(inputs) do "
        "  assert(p:write(i, '\\n')) p:close_write() "
        "end "
        "for i, task in ipairs(tasks) do "
        "  local line, status = task:join() "
        "  if line == tostring(i) and status == 0 then n = n + 1 end "
        "end return n") == "100"
    no_zombies(gw)
    gw.wait_fds(fds)


def test_a_hundred_requests_run_programs(gateway):
    gw = gateway(EVAL, "-w", "2")
    workers = set()

    def ask(number):
        text = run(gw, 
            f"local r = fcgi.run {{ 'cat', stdin = '{number}' }} "
            "return r.stdout, r.status, fcgi.worker.pid")
        shown, status, pid = text.split(", ")
        assert (shown, status) == (f'"{number}"', "0")
        workers.add(int(pid))
    threads = [threading.Thread(target=lambda n=n: [ask(n), ask(-n)])
               for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        assert all(state(pid) != "Z" for pid in children(worker))


def test_large_input_and_output_at_once(gateway):
    gw = gateway(EVAL)
    assert run(gw, 
        "local big = ('0123456789abcdef'):rep(1 << 19) "
        "local r = fcgi.run { 'cat', stdin = { big, big }, stderr = 'merge' } "
        "return r.stdout == big .. big") == "true"


# --- what runs out ----------------------------------------------------------

def test_too_many_open_files(gateway):
    gw = gateway(EVAL, nofile=64)
    assert run(gw, 
        "local all, err = {} "
        "repeat local p p, err = fcgi.popen { 'sleep', '1000' } "
        "all[#all + 1] = p until not p return #all > 5, err") \
        == 'true, "too many open files"'
    no_zombies(gw)
    assert run(gw, "return fcgi.run({'echo', 'x'}).stdout") == '"x\n"'


def test_too_many_processes(gateway):
    """Root is not limited: it serves as somebody else then."""
    options = ("--user=54321:54321",) if os.geteuid() == 0 else ()

    def limit():
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    gw = gateway(EVAL, *options, preexec_fn=limit,
                 env={"ASAN_OPTIONS": "detect_leaks=0"})    # it forks for that
    assert run(gw, "return fcgi.run { 'true' }") == \
        'nil, "too many processes"'


# --- who ends with whom -----------------------------------------------------

@pytest.mark.parametrize("name,status", [("returns", 200), ("raises", 500)])
def test_a_program_ends_with_its_handler(gateway, name, status):
    gw = gateway(APP)
    assert gw.request(page(name)).status == status
    wait_gone(*started(gw))
    no_zombies(gw, allowed=1)       # that of on_worker


def test_a_program_ends_with_a_request_that_takes_too_long(gateway):
    gw = gateway(APP, "--timeout=0.2")
    assert gw.request(page("waits")).status == 504
    wait_gone(*started(gw))
    no_zombies(gw, allowed=1)


@pytest.mark.parametrize("how", ["abort", "close"])
def test_a_program_ends_when_the_client_leaves(gateway, how):
    gw = gateway(APP + "return { on_request = on_request, on_worker = "
                 "on_worker, abort = 'cancel' }")
    with gw.connect() as conn:
        conn.start(1, page("waits"))
        program, grandchild = started(gw)
        assert not is_gone(program) and not is_gone(grandchild)
        if how == "abort":
            conn.abort(1)
            conn.collect(1)
    wait_gone(program, grandchild)
    no_zombies(gw, allowed=1)


def test_a_program_ends_with_the_block_of_a_cancelled_task(gateway):
    """The request goes on."""
    gw = gateway(APP)
    with gw.connect() as conn:
        conn.start(1, page("task"), end=False)
        wait_gone(*started(gw))
        gw.wait_log("the task has ended")
        no_zombies(gw, allowed=1)
        conn.stdin(1)
        assert conn.collect(1).status == 200


def test_a_program_ends_with_a_cancelled_run(gateway, tmp_path):
    """The request goes on."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    gw = gateway(APP, "--eval", f"FIFO = '{fifo}'")
    with gw.connect() as conn:
        conn.start(1, page("cancelled_run"), end=False)
        wait_gone(*started(gw))
        no_zombies(gw, allowed=1)
        conn.stdin(1)
        assert conn.collect(1).status == 200


def test_a_detached_task_leaves_its_program_to_the_worker(gateway):
    gw = gateway(APP)
    assert gw.request(page("detached")).status == 200
    program, grandchild = started(gw)
    gw.barrier()
    assert not is_gone(program) and not is_gone(grandchild)
    assert gw.stop() == 0
    wait_gone(program, grandchild)


def test_a_program_of_the_worker_serves_its_requests(gateway):
    gw = gateway(APP)
    for text in ("one", "two"):
        assert gw.request(page("echo", QUERY_STRING=text)).text == text
    program = int(gw.wait_log(r"serves with (\d+)\.")[1])
    assert children(gw.pid) == [program]


def worker_of(gw, program):
    """The process that has started it."""
    def find():
        family = [gw.pid]
        for pid in family:
            family += children(pid)
            if program in children(pid):
                return pid
    return wait_until(find, "the program's worker")


@pytest.mark.parametrize("options", [(), ("-w", "2")], ids=["one", "workers"])
def test_programs_end_when_the_service_stops(gateway, options):
    gw = gateway(APP, "--grace=0.2", *options)
    with gw.connect() as conn:
        conn.start(1, page("waits"))
        program, grandchild = started(gw)
        others = children(worker_of(gw, program))
        gw.stop()
    wait_gone(program, grandchild, *others)


@pytest.mark.parametrize("options", [(), ("-w", "2")], ids=["one", "workers"])
def test_programs_end_with_a_worker_that_is_killed(gateway, options):
    """What they have started themselves has lost its pipes, at least."""
    gw = gateway(APP, *options, expect=None)
    with gw.connect() as conn:
        conn.start(1, page("waits"))
        program, grandchild = started(gw)
        worker = worker_of(gw, program)
        others = children(worker)
        os.kill(worker, signal.SIGKILL)
        wait_gone(*others)
        assert program in others and len(others) == 2
    os.kill(grandchild, signal.SIGKILL)
    if not options:
        gw.wait()
        return
    wait_gone(grandchild)       # the supervisor has inherited it
    for text in ("one", "two"):
        assert gw.request(page("echo", QUERY_STRING=text)).text == text
    gw.stop()
    assert gw.code == 0


def test_a_trial_of_a_reload_holds_no_pipe(gateway, tmp_path):
    gate = tmp_path / "gate"
    gate.write_text("")
    gw = gateway(APP, "--load-timeout=0")
    server, = children(gw.pid)
    write(gw, f"while io.open('{gate}') do end {APP}")
    gw.signal(signal.SIGHUP)
    wait_until(lambda: len(children(gw.pid)) == 2, "the trial")
    trial, = set(children(gw.pid)) - {server}
    assert gw.request(page("finish")).text == "0"
    assert not is_gone(trial)
    gate.unlink()
    gw.wait_log(r"(?s)serves with.*serves with")


def test_programs_end_with_their_generation(gateway):
    gw = gateway(APP)
    first = int(gw.wait_log(r"serves with (\d+)\.")[1])
    write(gw, APP.replace("serves with", "goes on with"))
    gw.signal(signal.SIGHUP)
    second = int(gw.wait_log(r"goes on with (\d+)\.")[1])
    wait_gone(first)
    wait_until(lambda: children(gw.pid) == [second], "one child")
    assert gw.request(page("echo", QUERY_STRING="x")).text == "x"


def test_a_program_outlives_an_upgrade_with_its_request(gateway, tmp_path):
    """It stays a child of the process, which has become another program."""
    gw = gateway(APP)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    first = int(gw.wait_log(r"serves with (\d+)\.")[1])
    with gw.connect() as conn:
        conn.start(1, page("run", FIFO=str(fifo)))
        gw.wait_log("waits for")
        wait_until(lambda: len(children(gw.pid)) == 2, "the program")
        gw.signal(signal.SIGUSR2)
        gw.wait_log("generation 2 serves")
        with open(fifo, "w", encoding="ascii") as out:
            out.write("hello\n")
        assert conn.collect(1).text == "7 hello\n"
    wait_gone(first)
    no_zombies(gw, allowed=1)   # that of the new program
    assert children(gw.pid) != [first]
    assert gw.request(page("echo", QUERY_STRING="x")).text == "x"


def test_an_upgrade_before_anything_is_served_ends_programs(gateway):
    """There is no elder who would go on."""
    gw = gateway(APP.replace(
        'server = fcgi.popen { "cat" }',
        'server = fcgi.popen { "cat" } '
        'if fcgi.worker.generation == 1 then start() fcgi.sleep(3600) end'),
        wait=False)
    program, grandchild = started(gw)
    gw.signal(signal.SIGUSR2)
    gw.wait_log(r"serves with ")
    wait_gone(program, grandchild)
    gw.wait_ready()
    no_zombies(gw, allowed=1)
    assert gw.request(page("echo", QUERY_STRING="x")).text == "x"


def test_what_a_killed_elder_ran_ends_with_it(gateway):
    gw = gateway(APP)
    with gw.connect() as conn:
        conn.start(1, page("waits"))
        program, grandchild = started(gw)
        gw.signal(signal.SIGUSR2)
        gw.wait_log("generation 2 serves")
        elder = next(pid for pid in children(gw.pid) if pid != program and
                     os.readlink(f"/proc/{pid}/exe") ==
                     os.readlink(f"/proc/{gw.pid}/exe"))
        os.kill(elder, signal.SIGKILL)
        wait_gone(program, grandchild)
    no_zombies(gw, allowed=1)
