"""The pages of the examples in a real browser, by --http and behind nginx: they
work, nothing that somebody has typed is run, and the console stays empty.

SPDX-License-Identifier: MIT
"""
import contextlib
import re

import pytest
from selenium.common.exceptions import (NoAlertPresentException,
                                        WebDriverException)
from selenium.webdriver.common.by import By

from support.browser import chromium, console
from support.gateway import free_port, wait_until

XSS = ("<script>alert(1)</script><img src=x onerror=alert(2)>\"'>"
       "</textarea><svg onload=alert(3)>")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Where the browser puts what it downloads."""
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def only_browser(all_sites, tmp_path_factory, saved):
    with chromium(tmp_path_factory.mktemp("chromium"), saved) as driver:
        yield driver


@pytest.fixture
def browser(only_browser):
    """As if it had never been anywhere."""
    console(only_browser)
    yield only_browser
    only_browser.get("about:blank")
    only_browser.execute_cdp_cmd("Network.clearBrowserCookies", {})


@pytest.fixture(params=["http", "nginx"])
def front(request):
    return request.param


def find(browser, css):
    return browser.find_element(By.CSS_SELECTOR, css)


def texts(browser, css):
    return [element.text
            for element in browser.find_elements(By.CSS_SELECTOR, css)]


def send(browser):
    """Clicks on the button of the form, and waits for the page that comes."""
    before = find(browser, "html").id
    find(browser, "button").click()
    wait_until(lambda: is_another_page(browser, before), "the next page")


def is_another_page(browser, before):
    with contextlib.suppress(WebDriverException):   # while it changes
        return find(browser, "html").id != before and browser.execute_script(
            "return document.readyState") == "complete"


def check_quiet(browser, *expected):
    """No alert; in the console only messages with these texts."""
    with pytest.raises(NoAlertPresentException):
        browser.switch_to.alert.accept()
    messages = console(browser)
    assert len(messages) == len(expected), messages
    for text, message in zip(expected, messages, strict=True):
        assert text in message


# --- upload.lua -----------------------------------------------------------

def test_upload_of_files(browser, site, front, tmp_path):
    uploads = site("upload.lua", "saved")
    (uploads.cwd / "saved").mkdir(exist_ok=True)
    contents = {"<b>&'x.bin": bytes(range(256)) * 1000, "\u00fc.txt": b"\r\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    browser.get(uploads.url(front))
    find(browser, "[name=note]").send_keys(XSS)
    find(browser, "[type=file]").send_keys(
        "\n".join(str(tmp_path / name) for name in contents))
    send(browser)
    note, *lines = texts(browser, "li")
    assert note == "note: " + XSS
    for line, (name, content) in zip(lines, contents.items(), strict=True):
        found = re.fullmatch(r"(.*): (\d+) bytes in (saved/\S+)", line)
        assert found.group(1, 2) == (name, str(len(content)))
        assert (uploads.cwd / found.group(3)).read_bytes() == content
    check_quiet(browser)


def test_upload_of_nothing(browser, site, front):
    uploads = site("upload.lua", "saved")
    browser.get(uploads.url(front))
    send(browser)
    assert texts(browser, "li") == ["note:"]
    check_quiet(browser)


# --- download.lua ---------------------------------------------------------

@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    files = tmp_path_factory.mktemp("files")
    (files / "sub #1").mkdir()
    (files / "sub #1" / "50% <b>.txt").write_text("found")
    (files / XSS.replace("/", "-")).write_text("x")
    (files / "big.bin").write_bytes(bytes(range(256)) * 10000)
    for name in "page.html", "picture.svg":
        (files / name).write_text(
            '<svg xmlns="http://www.w3.org/2000/svg"><text y="20">words</text>'
            "<script>alert(1)</script></svg>")
    return files


def test_download_by_clicking(browser, site, front, tree, saved):
    files = site("download.lua", str(tree))
    browser.get(files.url(front))
    assert texts(browser, "td:first-child") == sorted(
        [*(path.name for path in tree.iterdir() if path.is_file()), "sub #1/"])
    find(browser, "a[href^='sub']").click()
    assert find(browser, "h1").text == "/sub #1/"
    browser.find_element(By.LINK_TEXT, "50% <b>.txt").click()
    assert find(browser, "body").text == "found"
    browser.back()
    browser.find_element(By.LINK_TEXT, "../").click()
    assert browser.current_url == files.url(front)
    browser.find_element(By.LINK_TEXT, "big.bin").click()
    wait_until((saved / "big.bin").exists, "the download")
    assert (saved / "big.bin").read_bytes() == (tree / "big.bin").read_bytes()
    (saved / "big.bin").unlink()
    check_quiet(browser)


@pytest.mark.parametrize("name", ["page.html", "picture.svg"])
def test_download_shows_pages_without_their_scripts(browser, site, front, tree,
                                                    name):
    browser.get(site("download.lua", str(tree)).url(front) + name)
    assert find(browser, "text").text == "words"
    check_quiet(browser, "Content Security Policy")


# --- clock.lua ------------------------------------------------------------

def test_clock_ticks(browser, site, front):
    clock = site("clock.lua")
    seen = set()

    def has_ticked():
        seen.add(find(browser, "time").text)
        return len(seen - {"--:--:--"}) >= 3
    browser.get(clock.url(front))
    wait_until(has_ticked, "three ticks")
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d|--:--:--", text) for text in seen)
    assert find(browser, "time").get_attribute("class") == ""
    check_quiet(browser)


def test_clock_goes_on_when_the_server_is_back(browser, own_example):
    def is_stale():
        return find(browser, "time").get_attribute("class") == "stale"

    port = free_port()
    options = f"--http=127.0.0.1:{port}", "--grace=0"
    clock = own_example("clock.lua", *options)
    browser.get(f"http://127.0.0.1:{port}/")
    wait_until(lambda: not is_stale(), "a tick")
    assert clock.stop() == 0
    wait_until(is_stale, "the end of the stream")
    own_example("clock.lua", *options)
    wait_until(lambda: not is_stale(), "a tick of the next")


# --- template.lua ---------------------------------------------------------

def test_template_searches(browser, site, front):
    browser.get(site("template.lua").url(front))
    assert len(texts(browser, "li")) == 4
    browser.find_element(By.LINK_TEXT, "x < y & y > z").click()
    assert texts(browser, "li a") == ["x < y & y > z"]
    box = find(browser, "[name=q]")
    assert box.get_attribute("value") == "x < y & y > z"
    box.clear()
    box.send_keys(XSS)
    send(browser)
    assert find(browser, "[name=q]").get_attribute("value") == XSS
    assert texts(browser, "q") == [XSS]
    check_quiet(browser)


# --- guestbook.lua --------------------------------------------------------

def fill(browser, **fields):
    for name, text in fields.items():
        field = find(browser, f"[name={name}]")
        field.clear()
        field.send_keys(text)


def test_guestbook_is_signed(browser, site, front):
    book = site("guestbook.lua")
    browser.get(book.url(front))
    before = len(texts(browser, "article"))
    fill(browser, name="Ada", text="two\nlines")
    send(browser)
    assert texts(browser, "article b")[0] == "Ada"
    assert texts(browser, "article p")[0] == "two\nlines"
    browser.refresh()       # does not send it again
    assert len(texts(browser, "article")) == before + 1
    # The style is from here, and in force.
    assert find(browser, "article").value_of_css_property(
        "border-top-width") == "1px"
    check_quiet(browser)


def test_guestbook_runs_nothing(browser, site, front):
    browser.get(site("guestbook.lua").url(front))
    fill(browser, name=XSS[:60], text=XSS)
    send(browser)
    assert texts(browser, "article b")[0] == XSS[:60]
    assert texts(browser, "article p")[0] == XSS
    check_quiet(browser)
    browser.execute_script(     # even if it had got in
        "const s = document.createElement('script'); s.text = 'alert(1)';"
        "document.body.append(s)")
    check_quiet(browser, "Content Security Policy")


def test_guestbook_keeps_what_was_typed(browser, site, front):
    book = site("guestbook.lua")
    browser.get(book.url(front))
    find(browser, "button").click()     # the browser asks for what is missing
    assert browser.execute_script(
        "return document.querySelector('[name=name]').validity.valueMissing")
    fill(browser, name="   ", text="\n" + XSS)
    send(browser)
    assert texts(browser, "strong") == ["", "is missing", ""]
    assert find(browser, "[name=text]").get_attribute("value") == "\n" + XSS
    fill(browser, name="Bob")
    send(browser)
    assert texts(browser, "article b")[0] == "Bob"
    check_quiet(browser, "422")


def test_guestbook_without_its_cookie(browser, site, front):
    browser.get(site("guestbook.lua").url(front))
    fill(browser, name="Eve", text="late")
    browser.delete_all_cookies()
    send(browser)
    assert texts(browser, "strong")[0].startswith("This form was too old")
    assert find(browser, "[name=name]").get_attribute("value") == "Eve"
    send(browser)       # now it is as it should be
    assert texts(browser, "article b")[0] == "Eve"
    check_quiet(browser, "403")


def test_guestbook_pages(browser, site, front):
    book = site("guestbook.lua")
    for number in range(11):
        book.ask("fastcgi", "POST", "/", [
            ("Cookie", "token=a"),
            ("Content-Type", "application/x-www-form-urlencoded")],
            b"token=a&text=x&name=guest+%d" % number)
    browser.get(book.url(front))
    assert texts(browser, "article b") == [
        f"guest {number}" for number in range(10, 0, -1)]
    browser.find_element(By.LINK_TEXT, "older").click()
    assert texts(browser, "article b")[0] == "guest 0"
    browser.find_element(By.LINK_TEXT, "newer").click()
    assert texts(browser, "article b")[0] == "guest 10"
    check_quiet(browser)


def test_guestbook_takes_no_form_of_another_site(browser, site, front,
                                                 tmp_path):
    """Another site's page, in a browser that has the cookie."""
    book = site("guestbook.lua")
    browser.get(book.url(front))
    count = len(texts(browser, "article"))
    (tmp_path / "evil.html").write_text(
        f'<form method="post" action="{book.url(front)}"><input name="name" '
        'value="Eve"><input name="text" value="x"><input name="token" '
        'value="abc"><button>win</button></form>')
    browser.get(f"file://{tmp_path}/evil.html")
    send(browser)
    assert texts(browser, "strong")[0].startswith("This form was too old")
    assert len(texts(browser, "article")) == count
    check_quiet(browser, "403")


# --- all of them ----------------------------------------------------------

PAGES = {"upload.lua": "", "download.lua": "", "clock.lua": "",
         "template.lua": "?q=moon", "guestbook.lua": ""}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_on_a_phone(browser, site, name):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True})
    try:
        browser.get(site(name).url("http") + PAGES[name])
        assert browser.execute_script("return innerWidth") == 360
        assert browser.execute_script(
            "return document.documentElement.scrollWidth") <= 360
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
