"""The same pixels in another transfer syntax, written by gdcm: no code is shared with pydicom's."""

from tests.helpers.hostile.dicom_truth import BITS, Case

COMPRESSED = {
    "RLELossless": "1.2.840.10008.1.2.5",
    "JPEGLosslessProcess14": "1.2.840.10008.1.2.4.57",
    "JPEGLosslessProcess14_1": "1.2.840.10008.1.2.4.70",
    "JPEGLSLossless": "1.2.840.10008.1.2.4.80",
    "JPEG2000Lossless": "1.2.840.10008.1.2.4.90",
}
"""Reversible syntaxes that gdcm writes, and their UIDs."""


def twins():
    """(name of a syntax, case): every depth and sign in each."""
    sides = [Case("MONOCHROME1", None, "falling", "LINEAR", b, s) for b in BITS for s in (0, 1)]
    return [(name, case) for name in COMPRESSED for case in sides]


def recode(data, name, folder):
    """A file's bytes in the transfer syntax that gdcm calls `name`."""
    import gdcm

    source, target = folder / "source.dcm", folder / "target.dcm"
    source.write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target.read_bytes()
