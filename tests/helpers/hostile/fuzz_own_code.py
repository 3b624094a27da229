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


def read_picture(data):
    check_complete(data, read_header(data).kind)


READERS = (read_picture, read_codestream, decode_manifest, read_npy, read_npz, check_onnx)


def one_input(data):
    if data:
        with contextlib.suppress(InputError, BundleError):
            READERS[data[0] % len(READERS)](data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
