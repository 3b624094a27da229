"""A share of the processor: given by the system, refused with its reason, and left no trace of."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orthoedge.benchmarks.timing import cpu_quota
from orthoedge.runtime.errors import EngineError


def own_groups():
    return Path("/proc/self/cgroup").read_text()


def test_children_run_in_the_group_and_nothing_is_left_of_it():
    before = own_groups()
    try:
        with cpu_quota.cpu_quota(0.5):
            group = cpu_quota._find(cpu_quota.ROOT).folder
            assert group.name == f"orthoedge-benchmark-{os.getpid()}"
            limit = (group / "cpu.cfs_quota_us", group / "cpu.max")
            told = next(file for file in limit if file.is_file()).read_text().split()
            assert told[0] == "50000"
            child = [sys.executable, "-c", "print(open('/proc/self/cgroup').read())"]
            assert group.name in subprocess.run(child, capture_output=True, text=True).stdout
    except EngineError as error:
        pytest.skip(str(error))
    assert own_groups() == before
    assert not group.exists()


@pytest.fixture
def machine(tmp_path):
    """A folder in place of `/`, with control groups mounted in it."""

    def make(own, mount, *files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(own)
        (tmp_path / "proc/self/mountinfo").write_text(mount)
        for name, content in files:
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return tmp_path

    return make


V2 = "28 22 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"


def test_version_two_is_told_in_its_own_words(machine, monkeypatch):
    monkeypatch.setattr(Path, "rmdir", shutil.rmtree)  # the kernel's files need not be deleted
    group = "sys/fs/cgroup/box"
    root = machine(
        "0::/box\n",
        V2,
        (f"{group}/cgroup.subtree_control", "memory cpu\n"),
        (f"{group}/orthoedge-benchmark-4294967295/cgroup.procs", ""),  # of a killed process
    )
    with cpu_quota.cpu_quota(1.5, root):
        (own,) = (root / group).glob("orthoedge-benchmark-*")
        assert (own / "cpu.max").read_text() == "150000 100000\n"
        assert int((own / "cgroup.procs").read_text()) == os.getpid()
    assert int((root / group / "cgroup.procs").read_text()) == os.getpid()
    assert not own.exists()


def test_version_one_may_be_mounted_from_a_group_on(machine, monkeypatch):
    monkeypatch.setattr(Path, "rmdir", shutil.rmtree)
    root = machine(
        "4:memory:/\n3:cpu,cpuacct:/docker/a/b\n0::/\n",
        V2 + "31 25 0:27 /docker/a /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
        ("sys/fs/cgroup/cpu/b/cgroup.procs", ""),
    )
    with cpu_quota.cpu_quota(0.25, root):
        (own,) = (root / "sys/fs/cgroup/cpu/b").glob("orthoedge-benchmark-*")
        assert (own / "cpu.cfs_quota_us").read_text() == "25000\n"


@pytest.mark.parametrize(
    ("own", "mount", "said"),
    [
        ("0::/box\n", V2, "No such file"),
        ("0::/box\n", "", "no control groups for processor time are mounted"),
    ],
)
def test_what_the_system_does_not_allow_is_one_line(own, mount, said, machine):
    root = machine(own, mount)
    with pytest.raises(EngineError, match=said) as error, cpu_quota.cpu_quota(1, root):
        pytest.fail("it was allowed")
    assert "\n" not in str(error.value)


def test_a_group_that_may_not_be_limited_is_removed_again(machine):
    root = machine("0::/\n", V2, ("sys/fs/cgroup/cgroup.procs", ""))
    # No cgroup.subtree_control: the controller of processor time is not to be had.
    with pytest.raises(EngineError, match="--cpu-quota: "), cpu_quota.cpu_quota(1, root):
        pytest.fail("it was allowed")
    assert list((root / "sys/fs/cgroup").iterdir()) == [root / "sys/fs/cgroup/cgroup.procs"]


@pytest.mark.parametrize("cores", [0, -1, float("nan")])
def test_a_share_is_above_nothing(cores):
    with pytest.raises(EngineError, match="above 0"), cpu_quota.cpu_quota(cores):
        pytest.fail("it was allowed")
