"""``sensorium`` as a process of its own that need not import torch: it is forked from one that has, and has it alone.

Everything else is as in a process begun anew, which takes three seconds of a core: ``sensorium`` itself is imported,
and environment, folder, streams, signals and exit status are its own. Tests of what is imported start a real one.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

#: What the first process imports: of others alone, and nothing that reads the environment or begins threads thereby.
IMPORTED = ("numpy", "scipy.sparse", "scipy.stats", "torch", "PIL.Image", "pydantic", "fastapi", "uvicorn")
#: What a command does, as the script that pip installs does it.
COMMAND = "from sensorium.cli import main; main()"


class Process:
    """The part of ``subprocess.Popen`` that the tests use.

    words: those of the command, without its name. code: what runs in its place, as ``python -c`` does.
    """

    def __init__(
        self, words: list[object], *, stdin: Any = None, stdout: Any = None, stderr: Any = None,
        env: Mapping[str, str] | None = None, cwd: Path | str | None = None, text: bool = False,
        code: str = COMMAND,
    ) -> None:  # fmt: skip
        self.args = ["sensorium", *map(str, words)]
        self.returncode: int | None = None
        self.stdout, out = _end(stdout, 1, text)
        self.stderr, err = (None, out) if stderr == subprocess.STDOUT else _end(stderr, 2, text)
        told = {"words": self.args[1:], "code": code, "cwd": os.fspath(cwd or os.getcwd()),
                "env": dict(os.environ if env is None else env)}  # fmt: skip
        with open(os.devnull) as nothing:
            self._link = _ask(told, [nothing.fileno() if stdin is None else stdin, out, err])
        for kind, end in ((stdout, out), (stderr, err)):
            if kind in (subprocess.PIPE, subprocess.DEVNULL):
                os.close(end)
        self._answers = self._link.makefile("r")
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._link.settimeout(None if timeout is None else max(timeout, 1e-3))
            try:
                answer = self._link.recv(16)
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.args, timeout) from None
            self._link.close()
            self.returncode = int(answer)
        return self.returncode

    def send_signal(self, sign: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sign)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """What it wrote, once it has ended."""
        found: dict[str, Any] = {"stdout": None, "stderr": None}

        def read(name: str) -> None:
            found[name] = getattr(self, name).read()

        readers = [threading.Thread(target=read, args=[name], daemon=True) for name in found if getattr(self, name)]
        for one in readers:
            one.start()
        self.wait(timeout)
        for one in readers:
            one.join(timeout)
        for name in found:
            if getattr(self, name):
                getattr(self, name).close()
        return found["stdout"], found["stderr"]


def run(*words: object, timeout: float = 200, check: bool = False, **options: Any) -> subprocess.CompletedProcess:
    """Run a command to its end; both streams are kept, unless ``stdout`` or ``stderr`` say something else."""
    process = Process([*words], **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})
    try:
        out, err = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _end(kind: Any, own: int, text: bool) -> tuple[IO[Any] | None, int]:
    """(our end or None, the command's end) of one of its streams."""
    if kind == subprocess.PIPE:
        ours, its = os.pipe()
        return (open(ours, encoding="utf-8") if text else open(ours, "rb")), its
    if kind == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    return None, own if kind is None else kind if isinstance(kind, int) else kind.fileno()


_first: list[tuple[subprocess.Popen, str]] = []


def _ask(told: dict[str, Any], streams: list[int]) -> socket.socket:
    """Have the first process, which is begun when it is first needed, fork a command; returns what it answers on."""
    if not _first:
        place = os.path.join(tempfile.mkdtemp(prefix="sensorium-"), "first")
        process = subprocess.Popen([sys.executable, __file__, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        _first.append((process, place))
        atexit.register(_leave)
    link = socket.socket(socket.AF_UNIX)
    link.connect(_first[0][1])
    content = json.dumps(told).encode()
    socket.send_fds(link, [len(content).to_bytes(4, "big")], streams)
    link.sendall(content)
    return link


def _leave() -> None:
    process, place = _first.pop()
    process.stdin.close()  # it ends with us, however we end
    process.wait(20)
    os.unlink(place)
    os.rmdir(os.path.dirname(place))


def _wait(child: int, link: socket.socket) -> int:
    """The status with which a child ends; it is killed where the process that asked for it has ended or let it go."""
    ended, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        if link in select.select([link, ended], [], [])[0]:
            os.kill(child, signal.SIGKILL)
            found = os.waitpid(child, 0)
            break
    return found[1]


def _become(place: str) -> tuple[list[str], str]:
    """Fork a process for every command that is asked for; returns in each of them, with its words and its code."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    listening.listen(16)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([0, listening], [], [], 1)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if 0 in ready:
            os._exit(0)
        if listening not in ready:
            continue
        link = listening.accept()[0]
        if os.fork():  # this process has one thread, which makes that safe
            link.close()
            continue
        listening.close()
        size, streams, _, _ = socket.recv_fds(link, 4, 3)
        told = json.loads(link.makefile("rb").read(int.from_bytes(size, "big")))
        if child := os.fork():  # this one waits for it
            for one in streams:
                os.close(one)
            link.sendall(f"{child}\n".encode())
            code = os.waitstatus_to_exitcode(_wait(child, link))
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it
                link.sendall(str(code).encode())
            os._exit(0)
        link.close()
        for own, one in enumerate(streams):
            os.dup2(one, own)
            os.close(one)
        os.environ.clear()
        os.environ.update(told["env"])
        os.chdir(told["cwd"])
        signal.signal(signal.SIGINT, signal.default_int_handler)  # those of a shell's background ignore it
        return told["words"], told["code"]


def _leave_at_once(code: int) -> None:
    """End as the interpreter does, but for the modules, whose taking down costs 0.3 s of a core."""
    with contextlib.suppress(OSError):  # a reader that has left: the interpreter says so
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import gc
    import importlib

    for _name in IMPORTED:
        importlib.import_module(_name)
    gc.freeze()
    _words, _code = _become(sys.argv[1])
    sys.argv = ["-c", *_words]
    _encoding, _, _errors = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    sys.stdin = open(0, encoding=_encoding, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=_encoding, errors=_errors or None, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding=_encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    try:
        exec(compile(_code, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as _end:
        if not isinstance(_end.code, int | None):
            raise
        _leave_at_once(_end.code or 0)
        raise
    _leave_at_once(0)
