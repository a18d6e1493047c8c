"""The status page for people, in a real browser: what it shows, that it shows
it again by itself, and that nothing in it is run.

SPDX-License-Identifier: MIT
"""
import base64
import contextlib
import hashlib
import html.parser
import json
import re
import urllib.request

import pytest
from selenium.webdriver.common.by import By

from support.browser import chromium, console
from support.gateway import DEADLINE, Gateway, free_port, wait_until

SCRIPT = """
local fcgi = require "fcgi"
local orders = fcgi.counter("shop_orders_total", "Orders, <b>all</b> of them")
local function on_request(req)
  orders:inc()
  if req:path() == "/sleep" then fcgi.sleep(300) end
  return req:path() == "/bad" and 500 or 200, {}, "hello"
end
return { on_request = on_request, abort = "cancel" }
"""
HOSTILE = ("/sleep?a=<script>document.title='run'</script>&b=\"'>"
           "<img src=x onerror=document.title='run'>&c=\x01\u20ac&amp;")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


class Page:
    def __init__(self, gw, port):
        self.gw, self.address = gw, f"http://127.0.0.1:{port}/"

    def get(self, query):
        with urllib.request.urlopen(self.address + "?" + query,
                                    timeout=DEADLINE) as answer:
            return answer.headers, answer.read().decode()

    def json(self, query="json"):
        return json.loads(self.get(query)[1])


@pytest.fixture
def page():
    with contextlib.ExitStack() as stack:
        def start(*options, **args):
            port = free_port()
            gw = stack.enter_context(Gateway(
                SCRIPT, f"--status-listen=127.0.0.1:{port}", *options, **args))
            return Page(gw, port)
        yield start


def texts(element, css):
    return [e.get_attribute("textContent")
            for e in element.find_elements(By.CSS_SELECTOR, css)]


def table(browser, name):
    """Its rows, as dictionaries by the head of the column."""
    found = browser.find_element(By.ID, name)
    heads = texts(found, "thead th")
    return [dict(zip(heads, texts(row, "th, td"), strict=True))
            for row in found.find_elements(By.CSS_SELECTOR, "tbody tr")]


def card(browser, name):
    return browser.execute_script(
        "return document.getElementById(arguments[0]).firstChild.data", name)


def test_the_page_says_what_json_says(browser, page):
    served = page("-w", "2")
    for path in ["/"] * 7 + ["/bad"] * 3:
        served.gw.request({"SCRIPT_NAME": path})
    wait_until(lambda: served.json()["requests"] == 10, "ten requests")
    browser.get(served.address + "?html&refresh=0")
    status = served.json("json&full")
    assert browser.title == "app.lua \u2013 fcgi-lua"
    for name, key in [("total", "requests"), ("errors", "requests 5xx"),
                      ("active", "active requests"),
                      ("connections", "connections"),
                      ("workers", "total processes"),
                      ("generation", "generation")]:
        assert card(browser, name) == str(status[key]), name
    rows = table(browser, "worker-table")
    assert [int(row["PID"]) for row in rows] == [
        process["pid"] for process in status["processes"]]
    for row, process in zip(rows, status["processes"], strict=True):
        assert row["Worker"] == str(process["worker"])
        assert row["State"] == process["state"] == "Idle"
        assert row["Requests"] == str(process["requests"])
        assert row["Connections"] == str(process["connections"])
        assert row["Generation"] == str(process["generation"])
        assert re.fullmatch(r"[\d.]+ [KM]iB", row["Memory"])
    counters = {row["Counter"]: row["Since the start"]
                for row in table(browser, "counter-table")}
    assert counters["answered with 5xx"] == "3"
    assert counters["answered with 2xx"] == "7"
    metric, = table(browser, "metric-table")
    assert metric == {"Metric": "shop_orders_total", "Value": "10",
                      "Meaning": "Orders, <b>all</b> of them"}
    assert console(browser) == []


def test_the_charts(browser, page):
    served = page("-w", "2")
    browser.get(served.address + "?html&refresh=0")
    assert "There are no charts yet" in browser.page_source
    for _ in range(20):
        served.gw.request()

    def drawn():
        browser.refresh()
        return len(browser.find_elements(By.CSS_SELECTOR, "figure svg")) == 3
    wait_until(drawn, "three charts", 60)
    for name, line in ("requests", "all"), ("latency", "mean"), \
            ("memory", "Lua"):
        figure = browser.find_element(By.ID, name)
        svg = figure.find_element(By.TAG_NAME, "svg")
        assert svg.get_attribute("role") == "img"
        title = svg.find_element(By.ID, svg.get_attribute("aria-labelledby"))
        assert len(title.get_attribute("textContent")) > 20
        box = svg.rect
        assert box["width"] > 200 and box["height"] > 80
        assert line in texts(figure, ".k")[0]
        assert re.match(r"\d\d:\d\d:\d\d: " + line, texts(svg, "rect title")[0])
    # The lines are in the picture: 600 by 120.
    for path in texts_of_paths(browser):
        for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", path):
            assert 0 <= float(x) <= 600 and 0 <= float(y) <= 120
    drawn_memory = browser.find_element(By.CSS_SELECTOR,
                                        "#memory path.a").get_attribute("d")
    assert drawn_memory.startswith("M")
    assert console(browser) == []


def texts_of_paths(browser):
    return [path.get_attribute("d") for path in browser.find_elements(
        By.CSS_SELECTOR, "svg path.a, svg path.b")]


def test_it_comes_again_by_itself(browser, page):
    served = page()
    browser.get(served.address + "?html&refresh=1")
    assert card(browser, "total") == "0"
    served.gw.request()

    def shown():
        with contextlib.suppress(Exception):    # while the page changes
            return card(browser, "total") == "1"
    wait_until(shown, "the request")
    browser.get(served.address + "?html&refresh=0")
    assert not browser.find_elements(By.CSS_SELECTOR, "meta[http-equiv]")
    browser.get(served.address + "?html")
    meta = browser.find_element(By.CSS_SELECTOR, "meta[http-equiv=refresh]")
    assert meta.get_attribute("content") == "5"
    browser.get("about:blank")


def test_links_keep_what_was_chosen(browser, page):
    served = page()
    browser.get(served.address)     # a browser asks for HTML
    for text, query in [("with running requests", "html&full"),
                        ("pause", "html&full&refresh=0"),
                        ("without requests", "html&refresh=0"),
                        ("with running requests", "html&full&refresh=0"),
                        ("go on", "html&full"),
                        ("without requests", "html")]:
        browser.find_element(By.LINK_TEXT, text).click()
        assert browser.current_url == served.address + "?" + query
    browser.get("about:blank")


def test_running_requests_and_hostile_addresses(browser, page):
    served = page("-w", "2")
    with served.gw.connect() as conn:
        conn.start(1, {"SCRIPT_NAME": "/sleep", "REQUEST_URI": HOSTILE,
                       "REMOTE_ADDR": "<script>document.title='run'</script>",
                       "REMOTE_USER": "<i>'\"&", "REQUEST_METHOD": "<b>",
                       "HTTP_X_REQUEST_ID": "</code><script>1</script>"})
        wait_until(lambda: served.json()["active requests"] == 1, "it")
        browser.get(served.address + "?html&full&refresh=0")
        row, = table(browser, "request-table")
    assert row["URI"].startswith("/sleep?a=<script>document.title='run'")
    assert row["URI"].endswith(r"&c=\x01\xE2\x82\xAC&amp;")
    assert row["Remote"] == "<script>document.title='run'</script>"
    assert row["Method"] == "<b>"
    assert row["Id"] == "</code><script>1</script>"
    assert row["State"] == "Waiting" and "app.lua:6: in" in row["Where"]
    assert browser.title == "app.lua \u2013 fcgi-lua"
    assert not browser.find_elements(By.CSS_SELECTOR, "script, img, i, td b")
    assert console(browser) == []


def test_nothing_else_can_be_run_or_loaded(browser, page):
    """Even what got into the page would not be run: the policy is strict."""
    served = page()
    headers, text = served.get("html")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    style, = re.findall(r"<style>(.*?)</style>", text, re.S)
    wanted = base64.b64encode(hashlib.sha256(style.encode()).digest())
    assert f"'sha256-{wanted.decode()}'" in policy, \
        "status_style.c: the policy has to name this style"
    assert not re.search(r"\b(style|on\w+)=|<script|https?:|url\(", text)
    assert headers["X-Content-Type-Options"] == "nosniff"
    browser.get(served.address + "?html&refresh=0")
    background = browser.execute_script(
        "return getComputedStyle(document.querySelector('dl.now div'))"
        ".borderTopWidth")
    assert background == "1px"      # the style is in force
    browser.execute_script(
        "const s = document.createElement('script');"
        "s.text = 'document.title = \"run\"'; document.body.append(s);"
        "const i = document.createElement('img'); i.src = '/ping';"
        "document.body.append(i)")
    assert browser.title == "app.lua \u2013 fcgi-lua"
    assert any("Content Security Policy" in line for line in console(browser))


@pytest.mark.parametrize("width", [360, 1200])
def test_it_fits_on_a_phone_and_on_a_desk(browser, page, width):
    """Tables scroll by themselves; the page does not, to the side."""
    served = page("-w", "2")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 800, "deviceScaleFactor": 1,
        "mobile": width < 600})
    try:
        browser.get(served.address + "?html&full&refresh=0")
        assert browser.execute_script(
            "return document.documentElement.scrollWidth") <= width
        assert browser.execute_script("return innerWidth") == width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_light_and_dark(browser, page):
    served = page()
    seen = set()
    for scheme in "light", "dark":
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})
        browser.get(served.address + "?html&refresh=0")
        seen.add(browser.execute_script(
            "return getComputedStyle(document.body).backgroundColor"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(seen) == 2


class Tags(html.parser.HTMLParser):
    """Checks that elements end in the order in which they began."""
    VOID = {"meta"}

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.heads = [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "th":
            self.heads.append(attrs.get("scope"))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_markup_is_sound(page):
    served = page("-w", "2")
    for query in "html", "html&full":
        headers, text = served.get(query)
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        tags = Tags()
        tags.feed(text)
        tags.close()
        assert tags.open == []
        assert len(set(tags.ids)) == len(tags.ids)
        assert set(tags.heads) == {"col", "row"}
        assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
