"""Run as a program: atheris on the code that reads headers, manifests, arrays and models.

Usage: fuzz_own_code.py CORPUS -runs=N -seed=1. The first byte of an input chooses the reader; an
error that the reader does not promise ends the process with a traceback and the input in a file.
"""

import contextlib
import sys

import atheris

sys.path[:] = [entry for entry in sys.path if entry]
with atheris.instrument_imports(include=["orthoedge"], enable_loader_override=False):
    from orthoedge.runtime.bundles.arrays import read_npy, read_npz
    from orthoedge.runtime.bundles.manifest import decode_manifest
    from orthoedge.runtime.bundles.onnx_guard import check_onnx
    from orthoedge.runtime.dicom.codestream import read_codestream
    from orthoedge.runtime.errors import BundleError, InputError
    from orthoedge.runtime.image_io.headers import check_complete, read_header
    from orthoedge.runtime.image_io.tiff.header import Compression
    from orthoedge.runtime.image_io.tiff.pixels import decode_tiff
    from orthoedge.runtime.image_io.tiff.strips import unpack

COMPRESSIONS = (Compression.LZW, Compression.DEFLATE, Compression.PACKBITS)


def read_picture(data):
    header = read_header(data)
    check_complete(data, header.kind)
    if header.kind == "TIFF" and header.width * header.height < 1_000_000:
        decode_tiff(data)


def read_strips(data):
    if data:
        compression = COMPRESSIONS[data[0] % len(COMPRESSIONS)]
        for strip in unpack([memoryview(data)[1:]], 64, 80, compression):
            assert len(strip) == 64


READERS = (
    *(read_picture, read_codestream, decode_manifest, read_npy, read_npz, check_onnx),
    read_strips,
)


def one_input(data):
    if data:
        with contextlib.suppress(InputError, BundleError):
            READERS[data[0] % len(READERS)](data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
