"""What `compress` keeps between calls, and in which order it ends: it can always be repeated."""

import errno

import pytest
import torch

from orthoedge.compression.bundle_writer import write_bundle
from orthoedge.compression.distillation.train_student import _resume, _save
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.runtime.errors import DataError


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a state", b"text"])
def test_a_damaged_state_of_a_student_is_refused_in_words(tmp_path, content):
    network = torch.nn.Linear(2, 2)
    state = tmp_path / "student-whole.pt"
    state.write_bytes(content)
    with pytest.raises(DataError, match=r"student-whole\.pt: damaged; remove .*") as refused:
        _resume(state, network, torch.optim.Adam(network.parameters()), "identity")
    assert "\n" not in str(refused.value)


def test_a_full_disk_names_the_state_and_leaves_the_one_before(tmp_path, small_files):
    state = tmp_path / "student-whole.pt"
    state.write_bytes(b"before")
    with small_files(10_000), pytest.raises(OSError, match=r"student-whole\.pt") as told:
        _save(state, {"weights": torch.zeros(100_000)})
    assert told.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [
        (state.name, b"before")
    ]


def test_no_state_is_a_start(tmp_path):
    network = torch.nn.Linear(2, 2)
    resumed = _resume(tmp_path / "none.pt", network, torch.optim.Adam(network.parameters()), "")
    assert resumed == (0, -1.0, {})


def test_a_bundle_appears_after_its_report_and_not_without_it(small_bundle, tmp_path):
    models = {precision: small_bundle.model(precision) for precision in ("fp32", "int8")}
    golden = {precision: small_bundle.golden_outputs(precision) for precision in models}
    given = (small_bundle.manifest, models, small_bundle.golden_images(), golden, "# Card\n")
    place = tmp_path / "bundles" / "one"

    def full():
        raise OSError(28, "No space left on device", "report.md")

    with pytest.raises(OSError, match=r"report\.md"):
        write_bundle(place, *given, announce=full)
    assert list(place.parent.iterdir()) == []
    seen = []
    write_bundle(place, *given, announce=lambda: seen.append(place.exists()))
    assert seen == [False]
    assert read_bundle(place).files.keys() == small_bundle.files.keys()
