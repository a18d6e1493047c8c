"""no_skips.py -- a pytest plug-in: with FCGI_LUA_NO_SKIPS in the environment a
skipped test fails the run, because a suite that quietly tests nothing looks
like one that passes.

SPDX-License-Identifier: MIT
"""
import os

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped") if reporter else None
    if skipped and os.environ.get("FCGI_LUA_NO_SKIPS") and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    skipped = len(terminalreporter.stats.get("skipped", []))
    if skipped and os.environ.get("FCGI_LUA_NO_SKIPS"):
        terminalreporter.write_line(
            f"FAILED: {skipped} skipped, and nothing may be skipped here",
            red=True)
