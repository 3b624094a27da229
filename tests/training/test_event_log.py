"""TensorBoard's log: read by TensorBoard itself, whole again after a kill, loud on a full disk."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from orthoedge.training.progress import EventLog
from orthoedge.training.run_folder import Epoch


def row(number, value):
    figures = dict.fromkeys(Epoch.__struct_fields__, value)
    return Epoch(**figures | {"epoch": number})


def shown(folder):
    read = EventAccumulator(str(folder))
    read.Reload()
    assert set(read.Tags()["scalars"]) == set(Epoch.__struct_fields__) - {"epoch"}
    return [(one.step, round(one.value, 3)) for one in read.Scalars("val_loss")]


def test_a_log_that_was_cut_off_and_gone_on_with_shows_every_epoch_once(tmp_path):
    before = EventLog(tmp_path, 1)
    for number in (1, 2, 3):
        before.add(row(number, 0.1))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    after = EventLog(tmp_path, 2)
    for number in (2, 3, 4):
        after.add(row(number, 0.2))
    assert shown(tmp_path) == [(1, 0.1), (2, 0.2), (3, 0.2), (4, 0.2)]


def test_a_full_disk_is_heard_by_who_writes(tmp_path, small_files, capfd):
    log = EventLog(tmp_path, 1)
    (file,) = tmp_path.iterdir()
    with small_files(100), pytest.raises(OSError, match="File too large") as raised:
        log.add(row(1, 0.1))
    assert raised.value.filename == str(file)
    assert capfd.readouterr().err == ""
