"""One thing wrong with a bundle: a bit, a cut, a swap, an addition, a removal."""

import re
import shutil
import zipfile

KINDS = ("bit", "cut", "bytes", "files", "longer", "added", "removed")
FORMS = ("folder", "stored", "deflated")


def contents(folder):
    """Name and bytes of every file of a bundle folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def mutate(files, rng, kind):
    """A copy of `files` with one thing wrong, and the names of which an error must name one."""
    changed = dict(files)
    if kind == "files":
        first, second = rng.sample(sorted(files), 2)
        changed[first], changed[second] = files[second], files[first]
        return changed, {first, second}
    if kind == "added":
        name = rng.choice(["x", "golden/x", "model.onnx", "manifest.json.bak", ".hidden", "..x"])
        changed[name] = rng.randbytes(rng.randrange(9))
        return changed, {name}
    name = rng.choice(sorted(files))
    if kind == "removed":
        del changed[name]
    else:
        changed[name] = damage(files[name], rng, kind)
    return changed, {name}


def damage(data, rng, kind):
    """Bytes with one thing wrong."""
    at = rng.randrange(len(data))
    if kind == "bit":
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == "cut":
        return data[:at]
    if kind == "bytes":
        other = rng.choice([i for i in range(len(data)) if data[i] != data[at]])
        swapped = bytearray(data)
        swapped[at], swapped[other] = data[other], data[at]
        return bytes(swapped)
    return data + rng.randbytes(rng.randrange(1, 99))


def named(error, names):
    """Whether a line says one of these names, as a word of its own."""
    return any(re.search(rf"(?<!\S){re.escape(name)}(?=[\s:,])", str(error)) for name in names)


def write(files, place, form):
    """A bundle of these files at `place`, in place of what is there."""
    shutil.rmtree(place, ignore_errors=True)
    place.unlink(missing_ok=True)
    if form == "folder":
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        return place
    method = zipfile.ZIP_STORED if form == "stored" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(place, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return place
