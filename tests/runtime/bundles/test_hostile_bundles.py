"""Malicious bundles are refused by the headers of their files, before these are opened."""

import contextlib
import io
import json
import shutil
import stat
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles import signature
from orthoedge.runtime.bundles.arrays import read_npy, read_npz
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.runtime.bundles.manifest import decode_manifest
from orthoedge.runtime.bundles.onnx_guard import check_onnx
from orthoedge.runtime.errors import BundleError
from tests.helpers.hostile.bombs import cost_of, zip_of, zip_of_members


@pytest.fixture
def copy(small_bundle, tmp_path):
    return shutil.copytree(small_bundle.path, tmp_path / "bundle")


def refused(tmp_path, archive):
    path = tmp_path / "bundle.zip"
    path.write_bytes(archive)
    message, _, more = cost_of(lambda: read_bundle(path))
    assert message.startswith(str(path)), "read"
    assert more < 50  # MiB
    return message


def test_a_whole_archive_is_read(copy, tmp_path):
    (tmp_path / "bundle.zip").write_bytes(zip_of(copy))
    assert read_bundle(tmp_path / "bundle.zip").manifest.name == "small"


def test_archives_that_open_to_far_more_are_refused(copy, tmp_path):
    assert "to 99999999 bytes" in refused(tmp_path, zip_of(copy, MODEL_CARD=bytes(99_999_999)))
    assert "zip directory" in refused(tmp_path, zip_of_members(65_000))


def with_member(copy, name, content=b"x", kind=stat.S_IFREG, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO(zip_of(copy))
    member = zipfile.ZipInfo(name)
    member.external_attr = (kind | 0o644) << 16
    member.compress_type = method
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(member, content)
    return file.getvalue()


def test_members_that_are_no_plain_files_are_refused(copy, tmp_path):
    link = with_member(copy, "link", b"/etc/passwd", stat.S_IFLNK)
    assert "is a link" in refused(tmp_path, link)
    assert "neither stored nor deflated" in refused(
        tmp_path, with_member(copy, "odd", b"x" * 99, method=zipfile.ZIP_LZMA)
    )
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = with_member(copy, "MODEL_CARD.md")
    assert "is duplicated" in refused(tmp_path, twice)


@pytest.mark.parametrize("name", ["../outside", "/outside", "golden/../../outside"])
def test_no_member_reaches_outside(copy, tmp_path, name):
    assert "does not belong" in refused(tmp_path, with_member(copy, name))
    assert not (tmp_path / "outside").exists()
    record = {"sha256": sha256(b"x"), "bytes": 1}
    edit(copy, lambda manifest: manifest["files"].update({name: record}))
    (tmp_path / "outside").write_bytes(b"x")
    with pytest.raises(BundleError, match="does not belong"):
        read_bundle(copy)


def edit(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    (folder / signature.DIGEST).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("field", "value"), [("map_height", 2**31), ("map_width", 0), ("features", 2**40)]
)
def test_absurd_shapes_in_the_manifest_are_refused(copy, field, value):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["graph"][field] = value
    with pytest.raises(BundleError, match=rf"graph\.{field} is {value}, expected 1 to"):
        decode_manifest(json.dumps(manifest).encode())


def other_model(copy, change):
    """A bundle whose fp32 model was changed and whose hashes fit."""
    import onnx

    model = onnx.load(copy / "model.fp32.onnx")
    change(model.graph)
    data = model.SerializeToString()
    (copy / "model.fp32.onnx").write_bytes(data)
    record = {"sha256": sha256(data), "bytes": len(data)}
    edit(copy, lambda manifest: manifest["files"].update({"model.fp32.onnx": record}))
    return read_bundle(copy)


def weight(graph):
    return next(tensor for tensor in graph.initializer if tensor.name == "mix")


def in_another_file(place):
    def change(graph):
        tensor = weight(graph)
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        tensor.external_data.add(key="location", value=place)

    return change


def inside_a_branch(graph):
    import onnx

    inner = onnx.helper.make_graph([], "inner", [], [], [weight(graph)])
    in_another_file("../secret")(inner)
    graph.node.append(onnx.helper.make_node("If", ["one"], ["never"], then_branch=inner))


def huge_weight(graph):
    weight(graph).dims[:] = [2**20, 2**20, 1, 1]


def negative_weight(graph):
    weight(graph).dims[:] = [-8, -8, 1, 1]


def huge_input(graph):
    graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**31


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_another_file("../secret"), "a tensor in another file"),
        (in_another_file("beside.bin"), "a tensor in another file"),
        (inside_a_branch, "a tensor in another file"),
        (huge_weight, "a tensor of stated shape"),
        (negative_weight, "a tensor of stated shape"),
        (huge_input, "an input or output of 2147483648"),
    ],
)
def test_a_model_that_asks_for_files_or_for_absurd_sizes_is_refused(copy, change, message):
    bundle = other_model(copy, change)
    with pytest.raises(BundleError, match=rf"model\.fp32\.onnx: {message}"):
        bundle.model("fp32")
    assert bundle.model("int8")


def npy(shape, data=b"", kind="<f4"):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize("shape", ["(1000000, 1000000)", "(-1,)", "(3,)", "(1, 1, 1, 1)"])
def test_an_array_that_is_not_what_its_header_says_is_refused(shape):
    with pytest.raises(BundleError):
        read_npy(npy(shape, bytes(8)))
    with pytest.raises(BundleError, match="objects in place of numbers"):
        read_npy(npy("(1,)", bytes(8), "|O"))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("logits.npy", npy(shape, bytes(8)))
    with pytest.raises(BundleError):
        read_npz(file.getvalue())


def test_arrays_read_as_numpy_wrote_them():
    written = {
        "words": np.array(["a", "bc"]),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "none": np.zeros((0, 3), np.float32),
    }
    file = io.BytesIO()
    np.savez_compressed(file, **written)
    read = read_npz(file.getvalue())
    assert read.keys() == written.keys()
    for name, array in written.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)


@pytest.mark.parametrize(
    ("reader", "beginning"),
    [
        (decode_manifest, b'{"schema": 3, '),
        (decode_manifest, b'{"schema": 4, '),
        (read_npy, b"\x93NUMPY\x01\x00"),
        (read_npz, b"PK\3\4"),
        (check_onnx, b"\x08\x0a"),
    ],
)
def test_any_bytes_are_read_or_a_bundle_error(reader, beginning):
    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(st.binary(max_size=200))
    def check(rest):
        with contextlib.suppress(BundleError):
            reader(beginning + rest)

    check()
