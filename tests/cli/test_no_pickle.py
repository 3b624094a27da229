"""A file that would run code when it is unpickled is refused, whatever it calls itself."""

import io
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest

from orthoedge.cli.main import main
from orthoedge.runtime.atomic_files import sha256


class Evil:
    """Leaves a folder behind where it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def plain(evil):
    return pickle.dumps(evil, protocol=2)


def as_torch_saves(evil):
    """The zip that torch.save writes, with the payload where the tensors' names are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps(evil, protocol=2))
        archive.writestr("evil/byteorder", "little")
        archive.writestr("evil/version", "3\n")
    return file.getvalue()


def as_old_torch_saved(evil):
    """A magic number, a version and a dictionary first, each a pickle of its own."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(part, protocol=2) for part in (*head, evil, []))


def as_numpy_saves(evil):
    file = io.BytesIO()
    np.save(file, np.array([evil], object), allow_pickle=True)
    return file.getvalue()


FORMS = [plain, as_torch_saves, as_old_torch_saved, as_numpy_saves]


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "code was run"


@pytest.mark.parametrize("form", FORMS)
def test_the_payload_itself_works(form, mark):
    """What is refused below does run its code where it is unpickled."""
    data = form(Evil(mark))
    if form is as_torch_saves:
        data = zipfile.ZipFile(io.BytesIO(data)).read("evil/data.pkl")
    if form is as_numpy_saves:
        np.load(io.BytesIO(data), allow_pickle=True)
    else:
        file = io.BytesIO(data)
        while file.tell() < len(data):
            pickle.load(file)
    assert mark.is_dir()


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("form", FORMS)
def test_weights_that_are_a_pickle_are_refused(form, name, mark, phantoms, tmp_path, capsys):
    weights = tmp_path / name
    weights.write_bytes(form(Evil(mark)))
    arguments = ["train", "tiny", "--data", str(phantoms), "--out", str(tmp_path / "run")]
    capsys.readouterr()
    assert main([*arguments, "--weights", str(weights)]) == 2
    assert not mark.exists()
    assert f"{weights}: expected a safetensors file" in capsys.readouterr().err


@pytest.mark.parametrize("form", FORMS)
def test_a_state_to_resume_from_that_runs_code_is_refused(
    form, mark, tiny_run, phantoms, tmp_path, capsys
):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    assert (run / "last.pt").is_file()
    (run / "last.pt").write_bytes(form(Evil(mark)))
    arguments = ["train", "tiny", "--data", str(phantoms), "--out", str(run), "--resume"]
    capsys.readouterr()
    assert main(arguments) == 2
    assert not mark.exists()
    assert "not a state this version can resume from" in capsys.readouterr().err


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["golden/int8.npz", "golden/images.npy", "model.fp32.onnx"])
def test_a_bundle_with_a_pickle_that_its_manifest_vouches_for_runs_no_code(
    form, name, mark, small_bundle, tmp_path, capsys
):
    folder = tmp_path / "bundle"
    shutil.copytree(small_bundle.path, folder)
    data = form(Evil(mark))
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][name] |= {"sha256": sha256(data), "bytes": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "manifest.sha256").unlink()
    assert main(["verify", str(folder), "--target", "portable"]) == 1
    assert not mark.exists()
    assert "FAIL" in capsys.readouterr().out


@pytest.mark.parametrize("form", FORMS)
def test_a_radiograph_that_is_a_pickle_runs_no_code(form, mark, bundle, tmp_path):
    (tmp_path / "hand.png").write_bytes(form(Evil(mark)))
    assert main(["predict", str(tmp_path / "hand.png"), *bundle]) == 1
    assert not mark.exists()
