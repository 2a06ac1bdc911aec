"""An end, with every thread's traceback, to whatever hangs in a fixture or after the last test."""

import contextlib
import faulthandler
import os

import pytest

#: Seconds that fixtures may take to begin (they fit runs, on a machine that may be busy) and to end, after which the
#: process is ended with every thread's traceback. The timeout of a test is of the test itself.
BEGINNING = float(os.environ.get("SENSORIUM_TESTS_BEGINNING", "900"))
ENDING = float(os.environ.get("SENSORIUM_TESTS_ENDING", "300"))
ERRORS = pytest.StashKey()


def pytest_configure(config):
    config.stash[ERRORS] = open(os.dup(2), "w")  # noqa: SIM115  the error stream itself, before it is captured


@contextlib.contextmanager
def within(seconds, config):
    """End the process where this takes longer.

    pytest's own faulthandler_timeout would not do: it is called off as soon as a test has failed, and a fixture may
    then still wait for what the test broke, such as a browser that died.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=config.stash[ERRORS])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    with within(BEGINNING, item.config):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    with within(ENDING, item.config):
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Threads that never end would keep the process from ending, too."""
    faulthandler.dump_traceback_later(ENDING, exit=True, file=session.config.stash[ERRORS])
