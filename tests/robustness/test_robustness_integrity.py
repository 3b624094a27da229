"""Promise 1: one thing wrong with a bundle, an engine plan or a compile cache is never loaded."""

import random

import pytest

from orthoedge.runtime.bundles.bundle import EMBEDDED, read_bundle
from orthoedge.runtime.errors import BundleError
from orthoedge.targets import BundleTrust, EngineOptions, open_engine
from orthoedge.targets.jetson import plan_cache
from orthoedge.targets.jetson.device import Device
from orthoedge.targets.x86 import compile as x86_compile
from orthoedge.targets.x86 import precision as x86_precision
from tests.helpers.hostile.mutations import FORMS, KINDS, contents, damage, mutate, named, write
from tests.helpers.hostile.signers import KEY, signed
from tests.helpers.jetson.damaged_plans import damaged

pytestmark = pytest.mark.slow

COUNT = 1000
EMBEDDED_COUNT = 60


@pytest.fixture(scope="module")
def bundles(small_bundle):
    """Files and the key to be pinned: small and sealed by a hash, small and signed, embedded."""
    plain = contents(small_bundle.path)
    return (plain, None), (signed(plain), KEY), (signed(contents(EMBEDDED)), KEY)


def refused(path, key, names):
    """Whether reading it is refused with one of the names in the line."""
    try:
        read_bundle(path, trust=BundleTrust(public_key=key))
    except BundleError as error:
        return named(error, names)
    return False


def test_bundles(bundles, tmp_path, tally):
    held = 0
    for seed in range(COUNT):
        rng = random.Random(seed)
        files, key = bundles[2 if seed < EMBEDDED_COUNT else rng.randrange(2)]
        kind, form = rng.choice(KINDS), rng.choice(FORMS)
        changed, names = mutate(files, rng, kind)
        while kind == "removed" and names == {"manifest.sha256"}:  # not covered: see the table
            changed, names = mutate(files, rng, kind)
        ended = refused(write(changed, tmp_path / "bundle", form), key, names)
        held += ended
        if not ended:
            print(f"seed {seed}: {kind} of {sorted(names)} as {form}, key {key}")
    tally("integrity: bundles, folder and .zip", held, COUNT, "refused, file named")


def test_the_bytes_of_archives(bundles, tmp_path, tally):
    """Of an archive's own bytes, some say nothing of its files, such as the clock."""
    held = unchanged = 0
    for seed in range(COUNT):
        rng = random.Random(seed)
        files, key = bundles[rng.randrange(2)]
        path = write(files, tmp_path / "bundle", rng.choice(FORMS[1:]))
        kind = rng.choice(("bit", "cut", "bytes", "longer"))
        path.write_bytes(damage(path.read_bytes(), rng, kind))
        try:
            found = read_bundle(path, trust=BundleTrust(public_key=key))
        except BundleError as error:
            held += str(path) in str(error)
            continue
        same = all(files[name] == content for name, content in found.files.items())
        held, unchanged = held + same, unchanged + same
        if not same:
            print(f"seed {seed}: {kind}, key {key}")
    note = f"refused, or every file as it was ({unchanged})"
    tally("integrity: bytes of a .zip bundle", held, COUNT, note)


def test_engine_plans(tmp_path, tally):
    """A plan is a stored file like any other: what TensorRT put into it does not matter here."""
    device = Device("Stand-in", "8.7", 8, 7168, "13.0", "12.6", "10.3.0")
    model, other = b"model", b"another model"
    facts, theirs = (plan_cache._plan_facts(one, device) for one in (model, other))
    whole = plan_cache._encode(facts, (), random.Random(0).randbytes(5000))
    foreign = plan_cache._encode(theirs, (), random.Random(1).randbytes(5000))
    file = facts.file(tmp_path)
    file.write_bytes(whole)
    assert plan_cache.load_plan(model, device, tmp_path)[0] is not None
    held = 0
    for seed in range(COUNT):
        file.write_bytes(damaged(whole, foreign, seed))
        plan, refused = plan_cache.load_plan(model, device, tmp_path)
        if plan is not None:
            print(f"seed {seed}: taken")
        held += plan is None and file.name in refused
    tally("integrity: engine plans", held, COUNT, "refused, file named")


class Core:
    """OpenVINO's, which says what it was given to import."""

    imported = 0

    def __init__(self, core):
        self._core = core

    def __getattr__(self, name):
        return getattr(self._core, name)

    def import_model(self, *arguments):
        Core.imported += 1
        return self._core.import_model(*arguments)


def test_compile_caches(small_bundle, tmp_path, tally, monkeypatch):
    load = x86_compile.load_openvino

    class Binding:
        def Core(self):  # noqa: N802
            return Core(load().Core())

    monkeypatch.setattr(x86_compile, "load_openvino", Binding)
    images = small_bundle.golden_images()
    expected, files = {}, {}
    for precision in ("fp32", "int8"):
        folder = tmp_path / precision
        engine = open_engine(
            small_bundle, "x86", precision, options=EngineOptions(threads=1, cache=folder)
        )
        expected[precision] = engine.run(images).logits.tobytes()
        (files[precision],) = folder.iterdir()
    whole = {precision: file.read_bytes() for precision, file in files.items()}
    assert (
        open_engine(
            small_bundle, "x86", "int8", options=EngineOptions(threads=1, cache=tmp_path / "int8")
        ).notes
        == ()
    )
    assert Core.imported == 1
    held = 0
    for seed in range(COUNT):
        rng = random.Random(seed)
        precision, other = rng.sample(("fp32", "int8"), 2)
        kind, file = rng.choice(("bit", "cut", "bytes", "longer", "swapped")), files[precision]
        bad = whole[other] if kind == "swapped" else damage(whole[precision], rng, kind)
        file.write_bytes(bad)
        Core.imported = 0
        engine = open_engine(
            small_bundle, "x86", precision, options=EngineOptions(threads=1, cache=file.parent)
        )
        told = len(engine.notes) == 1 and file.name in engine.notes[0]
        same = engine.run(images).logits.tobytes() == expected[precision]
        good = told and same and Core.imported == 0
        held += good
        if not good:
            print(f"seed {seed}: {kind} of {precision}, told {told}, same {same}")
    tally("integrity: compile caches", held, COUNT, "made anew, file named, same answers")


def test_remembered_precisions(small_bundle, tmp_path, tally, monkeypatch):
    measured = x86_precision._Milliseconds(fp32=2.125, int8=1.5)
    monkeypatch.setattr(x86_precision, "_time", lambda *arguments: measured)
    if x86_precision.choose_precision()[0] == "fp32":
        pytest.skip("without fast integer instructions nothing is measured or remembered")
    x86_precision.measure_precision(small_bundle, EngineOptions(1, tmp_path))
    (file,) = tmp_path.iterdir()
    whole, held = file.read_bytes(), 0
    for seed in range(COUNT):
        rng = random.Random(seed)
        file.write_bytes(damage(whole, rng, rng.choice(("bit", "cut", "bytes", "longer"))))
        chosen, reason = x86_precision.measure_precision(small_bundle, EngineOptions(1, tmp_path))
        again = chosen == "int8" and file.name in reason and file.read_bytes() == whole
        held += again
        if not again:
            print(f"seed {seed}: {reason}")
    tally("integrity: remembered precisions", held, COUNT, "measured anew, file named")
