"""examples/cqueues.lua with web servers to ask.

SPDX-License-Identifier: MIT
"""
import http.server
import threading

import pytest

from support.gateway import free_port, wait_until


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/slow":        # until the other one was asked for
            self.server.released.wait(60)
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"12345")

    def log_message(self, *args):
        pass


@pytest.fixture
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.asked, server.released = [], threading.Event()
    server.url = "http://127.0.0.1:%d" % server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_pages_are_fetched_at_once(own_example, web):
    closed = f"http://127.0.0.1:{free_port()}/"
    gw = own_example("cqueues.lua", "--lua-compat=5.1", args=[
        web.url + "/slow", web.url + "/none", closed])
    with gw.connect() as conn:
        conn.start(1)
        wait_until(lambda: {"/slow", "/none"} <= set(web.asked))
        web.released.set()
        lines = conn.collect(1).text.splitlines()
    assert lines[:2] == [f"{web.url}/slow: 200, 5 bytes",
                         f"{web.url}/none: 404, 5 bytes"]
    assert lines[2].startswith(f"{closed}: ") and len(lines) == 3
    assert "refused" in lines[2]
