"""The processes in which the tests run commands are like ones begun anew; properties keep to the number of examples."""

import os
import signal
import subprocess
import time
from pathlib import Path

import processes
from examples import EXAMPLES, times
from hypothesis import given, settings
from hypothesis import strategies as st

tried = []


def test_streams_environment_folder_and_status_are_its_own(tmp_path):
    code = "import os, sys\nprint(os.environ.get('ONE'), os.getcwd(), sys.argv[1:])\nprint('ä', file=sys.stderr)\nsys.exit(3)"
    done = processes.run("a b", 1, code=code, text=True, cwd=tmp_path, env={"ONE": "1", "PYTHONIOENCODING": "utf-8"})
    assert done.stdout == f"1 {tmp_path} ['a b', '1']\n" and (done.stderr, done.returncode) == ("ä\n", 3)
    failed = processes.run(code="raise ValueError('no')", text=True)
    assert failed.returncode == 1 and failed.stderr.endswith("ValueError: no\n")
    assert processes.run(code="import sys; sys.exit('said')", text=True).stderr == "said\n"


def test_nothing_of_ours_is_imported_before():
    code = "import sys; print(*(name for name in sys.modules if name.startswith(('sensorium', 'transformers'))))"
    assert processes.run(code=code, text=True).stdout == "\n"


def test_what_it_does_at_its_end_is_done():
    code = (
        "import atexit, threading, time\natexit.register(print, 'exit')\n"
        "threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()"
    )
    assert processes.run(code=code, text=True).stdout == "thread\nexit\n"


def test_signals_reach_it_and_it_ends_with_the_one_that_asked_for_it():
    code = "import time; print('x', flush=True); time.sleep(100)"
    for sign in (signal.SIGINT, signal.SIGKILL):
        process = processes.Process([], code=code, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout.readline() == "x\n" and process.poll() is None
        process.send_signal(sign)
        assert process.wait(30) == -sign
        process.stdout.close()
    process = processes.Process([], code=code, stdout=subprocess.DEVNULL)
    place = Path(f"/proc/{process.pid}")
    del process
    end = time.monotonic() + 30
    while place.exists():
        assert os.name == "posix" and time.monotonic() < end
        time.sleep(0.02)


@settings(max_examples=300)
@given(st.integers())
def test_a_property_tries_no_more_than_the_limit(number):
    tried.append(number)
    assert len(tried) <= max(EXAMPLES, 1)


def test_a_third_of_what_is_repeated_is_done_where_examples_are_few():
    assert times(60) == (60 if EXAMPLES > 20 else 20) and times(1) == 1
