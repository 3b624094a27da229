"""Every way for an identifier to leak: messages, output and files."""

import logging
import warnings

from orthoedge.runtime.errors import OrthoEdgeError
from orthoedge.runtime.overlay.overlay import to_png
from tests.helpers.hostile import planted


def plant(folder):
    """Write the files; all identifiers inside them, and all in their names."""
    inside, outside = [], []
    for name, data, (within, without) in planted.files():
        (folder / name).write_bytes(data)
        inside.append(within)
        outside.append(without)
    return inside, outside


def said_of(pipeline, path, drawers=()):
    """All that the library says of a file: finding or message, logs, warnings, pictures."""
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    root = logging.getLogger()
    root.addHandler(handler)
    level, pictures = root.level, b""
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                radiograph, finding = pipeline.predict_with_image(path)
                text = finding.to_json().decode() + repr(finding)
                pictures = b"".join(to_png(draw(radiograph, finding)) for draw in drawers)
            except OrthoEdgeError as error:
                text = f"{error} {error!r}"
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return "\n".join([text, *records, *(str(one.message) for one in warned)]).encode() + pictures


def found_in(identifiers, output):
    """Those of them that stand in it, as they are or in UTF-16."""
    return [
        name
        for name in identifiers
        if name.encode() in output or name.encode("utf-16-le") in output
    ]


def content_of(folder):
    """Names and bytes of all that lies below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return b"\n".join(str(path.relative_to(folder)).encode() + path.read_bytes() for path in files)
