"""A browser without a window: Chromium, driven by selenium.

SPDX-License-Identifier: MIT
"""
import contextlib

from selenium import webdriver

from support.gateway import DEADLINE


@contextlib.contextmanager
def chromium(folder, saved=None):
    """A driver with a profile of its own in the folder; what it downloads goes
    to the folder saved."""
    options = webdriver.ChromeOptions()
    options.add_argument("--headless=new")
    options.add_argument("--no-sandbox")    # root needs it
    options.add_argument("--disable-dev-shm-usage")
    # A page that was left has ended, and its requests with it.
    options.add_argument("--disable-features=BackForwardCache")
    options.add_argument(f"--user-data-dir={folder}")
    if saved is not None:
        options.add_experimental_option("prefs", {
            "download.default_directory": str(saved)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(
        service=webdriver.chrome.service.Service("/usr/bin/chromedriver"),
        options=options)
    try:
        driver.set_page_load_timeout(DEADLINE)
        yield driver
    finally:
        driver.quit()


def console(driver):
    """What pages have said since the last time, but for the icon that nobody
    has."""
    return [entry["message"] for entry in driver.get_log("browser")
            if "favicon.ico" not in entry["message"]]
