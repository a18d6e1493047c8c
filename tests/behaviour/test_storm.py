"""Nothing is lost while a service under load is reloaded, resized, killed in
part: every answer is counted and checked (see support/storm.py, and
tests/bench/storm for longer storms).

SPDX-License-Identifier: MIT
"""
import os
import signal

import pytest

from support.gateway import wait_until
from support.storm import SCRIPT, Service, Storm


@pytest.fixture(params=["unix", "tcp"])
def new_service(gateway, request):
    def start():
        gw = gateway(SCRIPT, "-w", "2", "--log-level=info",
                     listen=request.param)
        service = Service(gw)
        wait_until(lambda: service.generation() == 1, "the first generation")
        return service
    return start


@pytest.fixture
def service(new_service):
    return new_service()


def storm_over(service, times, act):
    """Runs act(storm) so often under load; all must be well."""
    with Storm(service.gw.address) as storm:
        wait_until(lambda: storm.requests > 50, "answers")
        for _ in range(times):
            before = storm.requests
            act(storm)
            wait_until(lambda: storm.requests > before + 20, "more answers")
    assert (storm.failed, storm.closed) == (0, 0), \
        f"seed {storm.seed}: {storm.counts()}\n" + "\n".join(storm.notes)
    return storm


def test_reloads_lose_nothing(service):
    storm = storm_over(service, 20, lambda storm: service.reload())
    assert storm.lost == 0 and service.generation() == 21


def test_killed_workers_lose_only_their_own_requests(new_service):
    """20 of them; of four services, since each starts workers that die young
    later and later."""
    for _ in range(4):
        service = new_service()
        storm_over(service, 5, service.kill_worker)
        assert service.gw.log().count("was killed by SIGKILL") == 5


def test_killed_templates_lose_nothing(service):
    storm = storm_over(service, 5, lambda storm: service.kill_template())
    assert storm.lost == 0


def test_more_and_fewer_workers_lose_nothing(service):
    def act(_):
        service.add_worker()
        service.drop_worker()
    storm = storm_over(service, 5, act)
    assert storm.lost == 0


UNFIT = SCRIPT + """
function on_worker(id)
  if id == 2 then
    fcgi.sleep(0.1) -- the other one serves meanwhile
    error "no second worker"
  end
end
"""
SLOW_THIRD = SCRIPT + """
function on_worker(id)
  if id == 3 then fcgi.sleep(100) end
end
"""


def write(gw, text):
    fresh = gw.folder / "fresh.lua"
    fresh.write_text(text)
    fresh.rename(gw.script)


def test_generations_that_are_not_fit_lose_nothing(service):
    write(service.gw, UNFIT)

    def act(_):
        def failed():
            return service.gw.log().count("is not fit to serve")
        before = failed()
        service.gw.signal(signal.SIGHUP)
        wait_until(lambda: failed() > before, "a generation that is not fit")
    storm = storm_over(service, 5, act)
    assert storm.lost == 0 and service.generation() == 1
    service.wait_calm()


def test_fewer_workers_while_a_generation_comes_up(gateway):
    gw = gateway(SCRIPT, "-w", "3", "--log-level=info")
    service = Service(gw, 3)
    wait_until(lambda: service.generation() == 1, "the first generation")
    write(gw, SLOW_THIRD)
    ready = service.ready_count()
    gw.signal(signal.SIGHUP)
    wait_until(lambda: service.ready_count() == ready + 2, "two workers")
    gw.signal(signal.SIGTTOU)
    wait_until(lambda: service.generation() == 2, "the next generation")
    gw.expect = None  # a hook that waits is ended with its worker


def test_a_service_recovers_from_a_dead_template_and_a_broken_script(service):
    templates, workers = service.tree()
    write(service.gw, "this is no Lua")
    for pid in templates + workers:
        os.kill(pid, signal.SIGKILL)
    service.gw.wait_log("the reload failed|nothing is left to serve")
    write(service.gw, SCRIPT)
    wait_until(lambda: service.generation() > 1, "another generation")
    with Storm(service.gw.address) as storm:
        wait_until(lambda: storm.requests > 50, "answers")
    assert (storm.failed, storm.closed) == (0, 0), storm.notes
