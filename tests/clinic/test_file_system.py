"""A database is kept on a local disk; the kind of file system tells, before anything is written."""

import contextlib
import socket
import subprocess
from pathlib import Path

import pytest

from orthoedge.clinic.file_system import check_local, file_system, is_network
from orthoedge.runtime.errors import ConfigError
from tests.helpers.clinic.nodes import eventually
from tests.helpers.clinic.programs import require, require_file

SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")

MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
server:/clinic /srv/clinic nfs4 rw 0 0
//server/share /srv/my\\040share cifs rw 0 0
systemd-1 /auto autofs rw 0 0
server:/auto /auto nfs rw 0 0
/dev/vdb /srv/clinic/local xfs rw 0 0
user@server:/ /home/user/far fuse.sshfs rw 0 0
/dev/sdc1 /media/stick fuseblk rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib/spool", "ext4"),
        ("/srv/clinic", "nfs4"),
        ("/srv/clinic/spool/deeper", "nfs4"),
        ("/srv/clinic2", "ext4"),
        ("/srv/my share/spool", "cifs"),
        ("/auto/spool", "nfs"),
        ("/srv/clinic/local/spool", "xfs"),
        ("/home/user/far/spool", "fuse.sshfs"),
        ("/media/stick", "fuseblk"),
    ],
)
def test_the_innermost_mount_that_holds_a_folder_counts(tmp_path, folder, kind):
    table = tmp_path / "mounts"
    table.write_text(MOUNTS)
    assert file_system(Path(folder), table) == kind


def test_without_a_table_of_mounts_the_kind_is_unknown(tmp_path):
    assert file_system(tmp_path, tmp_path / "missing") == ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "vboxsf"])
def test_file_systems_of_other_machines_are_known(kind):
    assert is_network(kind)


@pytest.mark.parametrize("kind", ["fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone"])
def test_those_of_fuse_are_taken_for_them(kind):
    assert is_network(kind)


@pytest.mark.parametrize(
    "kind",
    ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "fuse.gocryptfs", "f2fs", ""],
)
def test_local_ones_are_not(kind):
    assert not is_network(kind)


@pytest.fixture
def far(tmp_path):
    """A folder that sshfs serves, over a pipe in place of a network."""
    sshfs, umount = require("sshfs"), require("fusermount3")
    require_file(SFTP_SERVER, "openssh-sftp-server")
    (tmp_path / "near").mkdir()
    (folder := tmp_path / "far").mkdir()
    ours, theirs = socket.socketpair()
    command = [sshfs, "-f", "-o", "passive", f"here:{tmp_path / 'near'}", folder]
    with ours, theirs, _process([SFTP_SERVER], ours), _process(command, theirs) as client:
        eventually(lambda: folder.is_mount() or client.poll() is not None)
        if client.poll() is not None:
            pytest.skip("no file system of FUSE can be mounted here")
        yield folder
        subprocess.run([umount, "-u", folder], check=True)


@contextlib.contextmanager
def _process(command, line):
    process = subprocess.Popen(command, stdin=line, stdout=line)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_folder_on_a_mounted_network_file_system_is_refused_and_stays_empty(far):
    assert file_system(far / "spool") == "fuse.sshfs"
    with pytest.raises(ConfigError, match=r"the spool, .* lies on fuse\.sshfs, a network file"):
        check_local("the spool", far / "spool")
    assert not list(far.iterdir())
