"""An image in each transfer syntax is taken as it is sent, and answered by valid objects."""

import io

import pydicom
import pytest
from pydicom.uid import UID

from orthoedge.clinic.answering import Worker
from orthoedge.clinic.destination import RESULT_KINDS, Destination
from orthoedge.runtime.dicom.encoding import BIG_ENDIAN, IMPLICIT, JPEG, READ_SYNTAXES, RLE
from orthoedge.targets import open_pipeline
from tests.helpers.clinic.images import CR, image_file, limb
from tests.helpers.clinic.nodes import (
    Lines,
    association,
    echo,
    node_settings,
    receiver,
    states,
    store,
)
from tests.helpers.clinic.programs import errors_of, run
from tests.helpers.hostile.dicom_bytes import EXPLICIT
from tests.helpers.hostile.dicom_twins import recode

DEFLATED = "1.2.840.10008.1.2.1.99"
FRAGMENTS = "1.2.840.10008.1.2.1.98"
BY_PYDICOM = (f"{JPEG}81", f"{JPEG}91")
BY_GDCM = {
    f"{JPEG}57": "JPEGLosslessProcess14",
    f"{JPEG}70": "JPEGLosslessProcess14_1",
    f"{JPEG}80": "JPEGLSLossless",
    f"{JPEG}90": "JPEG2000Lossless",
    RLE: "RLELossless",
}
BY_DCMTK = {f"{JPEG}50": "+eb", f"{JPEG}51": "+ee", f"{JPEG}53": "+es", f"{JPEG}55": "+ep"}
# Nothing here writes the others: JPEG of the retired processes and HTJ2K.
WRITTEN = (EXPLICIT, IMPLICIT, BIG_ENDIAN, FRAGMENTS, *BY_PYDICOM, *BY_GDCM, *BY_DCMTK)
QUICK = (f"{JPEG}50", f"{JPEG}70", f"{JPEG}80", f"{JPEG}90", RLE)


def write(folder, syntax):
    """A file with a radiograph in a transfer syntax."""
    file, plain = folder / "image.dcm", image_file()
    if syntax in (EXPLICIT, IMPLICIT, BIG_ENDIAN):
        file.write_bytes(in_order(syntax))
    elif syntax in BY_GDCM:
        file.write_bytes(recode(plain, BY_GDCM[syntax], folder))
    elif syntax in BY_DCMTK:
        (folder / "plain.dcm").write_bytes(plain)
        done = run("dcmcjpeg", BY_DCMTK[syntax], "+un", folder / "plain.dcm", file)
        assert done[0] == 0, done[1]
    else:
        item = pydicom.dcmread(io.BytesIO(plain))
        if syntax == FRAGMENTS:
            item.PixelData = pydicom.encaps.encapsulate([item.PixelData])
            item["PixelData"].VR, item.file_meta.TransferSyntaxUID = "OB", UID(syntax)
            item["PixelData"].is_undefined_length = True
        else:
            lossy = {"jls_error": 2} if syntax == f"{JPEG}81" else {"j2k_psnr": [60]}
            item.compress(UID(syntax), generate_instance_uid=False, **lossy)
        item.save_as(file)
    return file


def in_order(syntax):
    """The samples in the byte order of the syntax."""
    order = ">u2" if syntax == BIG_ENDIAN else "<u2"
    return image_file({0x7FE00010: ("OW", limb().astype(order).tobytes())}, syntax)


@pytest.fixture(scope="module")
def pipeline(small_bundle):
    return open_pipeline(small_bundle, target="portable")


@pytest.mark.parametrize(
    "syntax",
    [
        pytest.param(each, marks=[] if each in QUICK else [pytest.mark.slow])
        for each in READ_SYNTAXES
        if each in WRITTEN
    ],
)
def test_an_image_of_any_syntax_is_kept_as_sent_and_has_valid_results(
    tmp_path, pipeline, maker, syntax
):
    file = write(tmp_path, syntax)
    sent = pydicom.dcmread(file)
    assert sent.file_meta.TransferSyntaxUID == syntax
    to = Destination(kind="folder", path="/out", results=RESULT_KINDS, forward_original=True)
    settings = node_settings(tmp_path, destinations={"archive": to})
    with receiver(settings) as spool:
        assert store(settings, file, syntax=syntax).Status == 0
        item = spool.next_image()
        kept = pydicom.dcmread(spool.folder / item.file)
        assert kept.file_meta.TransferSyntaxUID == syntax
        assert kept == sent
        Worker(settings, spool, pipeline, maker, Lines()).answer(item)
        images, objects = states(spool)
        assert images == {item.uid: "answered"}, (spool.dead / f"{item.uid}.txt").read_text()
        assert set(objects) == {("archive", kind) for kind in ("original", *RESULT_KINDS)}
        for result in spool.objects.iterdir():
            assert errors_of(result) == []


def test_what_is_read_and_not_written_here_is_known():
    """Each of them is accepted all the same: tests/clinic/receiver/test_storing.py."""
    assert set(READ_SYNTAXES) - set(WRITTEN) == {
        *(f"{JPEG}{process}" for process in (52, 54, 56, 58, 65, 66)),
        *(f"{JPEG}{part_2}" for part_2 in (92, 93)),
        *(f"{JPEG}{htj2k}" for htj2k in (201, 202, 203)),
    }


def test_a_deflated_image_is_not_accepted(tmp_path):
    settings = node_settings(tmp_path)
    with receiver(settings):
        with association(settings, syntax=DEFLATED) as sender:
            assert CR not in {each.abstract_syntax for each in sender.accepted_contexts}
        assert echo(settings) == 0
