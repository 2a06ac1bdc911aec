"""The memory that a process may still take, read off files as Linux has them, and off real limits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sensorium.numerics import memory_limits

MB = 1 << 20
MACHINE = f"MemTotal: 999 kB\nMemAvailable: {8000 << 10} kB\n"


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def machine(tmp_path: Path, line: str) -> Path:
    return written(tmp_path / "proc", {"meminfo": MACHINE, "self/cgroup": line, "self/status": "VmData: 1 kB\n"})


def second(limit: object, used: int, files: int = 0) -> dict[str, str]:
    return {"memory.max": f"{limit}\n", "memory.current": f"{used}\n",
            "memory.stat": f"anon 5\ninactive_file {files}\nactive_file 0\n"}  # fmt: skip


def first(limit: int, used: int, files: int = 0) -> dict[str, str]:
    return {"memory.limit_in_bytes": f"{limit}\n", "memory.usage_in_bytes": f"{used}\n",
            "memory.stat": f"inactive_file 7\ntotal_inactive_file {files}\ntotal_active_file 0\n"}  # fmt: skip


def under(path: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{path}{name}": text for name, text in files.items()}


def test_without_groups_it_is_what_the_machine_has(tmp_path):
    assert memory_limits.available(machine(tmp_path, "0::/\n"), tmp_path / "none") == 8000 * MB


def test_pages_of_files_in_a_group_count_as_free(tmp_path):
    groups = written(tmp_path / "cgroup", under("job/", second(1000 * MB, 700 * MB, files=400 * MB)))
    assert memory_limits.available(machine(tmp_path, "0::/job\n"), groups) == 700 * MB


def test_the_least_of_a_group_and_those_around_it(tmp_path):
    files = under("a/b/", second("max", 10)) | under("a/", second(300 * MB, 100 * MB)) | second(900 * MB, 0)
    groups = written(tmp_path / "cgroup", files)
    assert memory_limits.available(machine(tmp_path, "0::/a/b\n"), groups) == 200 * MB


def test_groups_of_version_one(tmp_path):
    files = under("memory/job/", first(500 * MB, 200 * MB, files=50 * MB)) | under("memory/", first(2**63 - 4096, 0))
    line = "9:name=systemd:/\n4:cpu,memory:/job\n0::/\n"
    assert memory_limits.available(machine(tmp_path, line), written(tmp_path / "cgroup", files)) == 350 * MB


def test_within_a_container_whose_path_is_the_hosts(tmp_path):
    groups = written(tmp_path / "cgroup", second(100 * MB, 30 * MB))
    assert memory_limits.available(machine(tmp_path, "0::/docker/3f2a\n"), groups) == 70 * MB


def test_a_group_that_is_full_leaves_nothing(tmp_path):
    groups = written(tmp_path / "cgroup", second(100 * MB, 130 * MB))
    assert memory_limits.available(machine(tmp_path, "0::/\n"), groups) == 0


@pytest.mark.parametrize("damaged", ["", "many", "-3"])
def test_a_file_that_says_no_number_is_no_limit(tmp_path, damaged):
    groups = written(tmp_path / "cgroup", second(damaged, 5))
    assert memory_limits.available(machine(tmp_path, "0::/\n"), groups) == 8000 * MB


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
@pytest.mark.parametrize("name", ["RLIMIT_DATA", "RLIMIT_AS"])
def test_a_limit_of_the_process_counts(name):
    code = (
        "import resource; from sensorium.numerics import memory_limits; import numpy as np\n"
        f"resource.setrlimit(resource.{name}, (1 << 30, 1 << 30)); before = memory_limits.available()\n"
        "held = np.ones(25 << 20); print(before, before - memory_limits.available())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert 0 < int(said[0]) < 1 << 30 and int(said[1]) == pytest.approx(200 * MB, rel=0.05)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root makes control groups")
def test_a_real_control_group_counts(tmp_path):
    for above in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        group = above / f"sensorium-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        name = next((one for one in ("memory.limit_in_bytes", "memory.max") if (group / one).exists()), None)
        if name is not None:
            break
        group.rmdir()
    else:
        pytest.skip("no control group of memory can be made here")
    try:
        (group / name).write_text(str(300 * MB))
        code = (
            f"open('{group}/cgroup.procs', 'w').write('0'); from sensorium.numerics import memory_limits\n"
            "print(memory_limits.available())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert 100 * MB < int(done.stdout) <= 300 * MB
    finally:
        group.rmdir()
