"""Fixtures that more than one folder of tests uses."""

import contextlib
import ctypes
import fcntl
import os
import resource
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def _folder(variable, what):
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: this test needs {what}")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"{variable}={value} is not a folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep the tests, and the processes they start, out of the real cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def real_data():
    """Folder of real radiographs, one data set per sub-folder with an index.csv."""
    return _folder("ORTHOEDGE_REAL_DATA", "real radiographs")


@pytest.fixture(scope="session")
def real_weights():
    """Folder of pretrained safetensors weights."""
    return _folder("ORTHOEDGE_REAL_WEIGHTS", "pretrained weights")


@pytest.fixture
def small_files():
    """Context in which no file of this process grows beyond some bytes, as on a full disk.

    Around one call only: pytest itself may be writing its report into a longer file.
    """

    @contextlib.contextmanager
    def limit(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Function that has a folder written by one of the processes of a test run, for all of them."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def folder(name, write):
        place, done = shared / name, shared / f"{name}.done"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                write(place)
                done.touch()
        return place

    return folder


@pytest.fixture(scope="session")
def phantoms(made_once):
    """Folder of a small phantom set."""
    from orthoedge.training.phantoms.render import write_phantoms

    return made_once("phantoms", lambda folder: write_phantoms(folder, 160, seed=1, size=96))


@pytest.fixture(scope="session")
def tiny_run(phantoms, made_once):
    """Folder of a run of the recipe `tiny`."""
    return made_once(
        "tiny-run", lambda run: _call("train", "tiny", "--data", phantoms, "--out", run)
    )


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run, made_once):
    """Folder of the bundle that `compress` makes of it. Copy it before changing a file."""
    return made_once("tiny-bundle", lambda out: _call("compress", tiny_run, "--out", out))


def _call(*words):
    from orthoedge.cli.main import main

    assert main([str(word) for word in words]) == 0


@pytest.fixture
def moment():
    """The least of everything that a run of the benchmark can measure."""
    from orthoedge.benchmarks.run_settings import Plan

    return Plan(
        processes=1,
        seconds=0,
        rounds=2,
        warmup=1,
        benchmark_app_runs=1,
        benchmark_app_s=1,
        stages_s=0,
        starts=1,
        energy_s=0,
        folder_processes=0,
        folder_s=0,
        every_precision=False,
    )


SIZE, FEATURES, LABELS = 32, 8, ("fracture", "non-affected", "tumor-malignant")


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory):
    """A bundle of two convolutions with fixed weights, in milliseconds: real engines run it.

    It has the face of every bundle and integer kernels in its INT8 form; its answers mean nothing.
    Copy `small_bundle.path` before changing a file of it.
    """
    from orthoedge.compression.bundle_writer import write_bundle
    from orthoedge.runtime.engine import Outputs

    models = {"fp32": small_model(integer=False), "int8": small_model(integer=True)}
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (4, 1, SIZE, SIZE), dtype=np.uint8)
    golden = {precision: Outputs(*reference(model, images)) for precision, model in models.items()}
    folder = tmp_path_factory.mktemp("bundles") / "small"
    return write_bundle(folder, small_manifest(), models, images, golden, "# Card\n")


def reference(model, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["logits", "saliency_map", "feature_vector"], {"image": images})


def small_model(*, integer):
    """ONNX bytes: a strided convolution, a 1×1 convolution (INT8 if asked), a GAP-linear head."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants = {
        "scale": np.float32(1 / 127.5),
        "one": np.float32(1),
        "stem": rng.normal(0, 0.2, (FEATURES, 1, 8, 8)).astype(np.float32),
        "head": rng.normal(0, 1, (len(LABELS), FEATURES, 1, 1)).astype(np.float32),
        "head_t": None,
        "bias": rng.normal(0, 0.1, len(LABELS)).astype(np.float32),
    }
    constants["head_t"] = np.ascontiguousarray(constants["head"][:, :, 0, 0].T)
    mix = rng.normal(0, 0.5, (FEATURES, FEATURES, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "one"], ["x"]),
        helper.make_node("Conv", ["x", "stem"], ["stemmed"], strides=[8, 8]),
        helper.make_node("Relu", ["stemmed"], ["f"]),
    ]
    if integer:
        step = np.float32(np.abs(mix).max() / 63)  # 7 bits, as CPUs without VNNI need
        constants |= {
            "mix_q": np.clip(np.round(mix / step), -64, 63).astype(np.int8),
            "mix_step": step,
            "f_step": np.float32(8 / 127),
            "zero": np.int8(0),
        }
        nodes += [
            helper.make_node("QuantizeLinear", ["f", "f_step", "zero"], ["f_q"]),
            helper.make_node("DequantizeLinear", ["f_q", "f_step", "zero"], ["f_in"]),
            helper.make_node("DequantizeLinear", ["mix_q", "mix_step", "zero"], ["mix"]),
        ]
    else:
        constants["mix"] = mix
    nodes += [
        helper.make_node("Conv", ["f_in" if integer else "f", "mix"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["features"]),
        helper.make_node("ReduceMean", ["features", "axes"], ["feature_vector"], keepdims=0),
        helper.make_node("Gemm", ["feature_vector", "head_t", "bias"], ["logits"]),
        helper.make_node("Conv", ["features", "head"], ["map"]),
        helper.make_node("Relu", ["map"], ["saliency_map"]),
    ]
    constants["axes"] = np.array([2, 3], np.int64)
    shapes = {
        "logits": ["n", len(LABELS)],
        "saliency_map": ["n", len(LABELS), SIZE // 8, SIZE // 8],
        "feature_vector": ["n", FEATURES],
    }
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def small_manifest():
    from orthoedge.runtime.bundles import manifest as m
    from orthoedge.runtime.image_statistics import STATISTICS_SIZE, STATISTICS_TERMS
    from orthoedge.runtime.preprocess import Preprocess

    def tolerance(value):
        return m.Tolerance(logits=value, saliency_map=value, feature_vector=value)

    calibration = m.Calibration(
        temperature=1.5,
        conformal_coverage=0.95,
        conformal_quantile=0.9,
        operating_points=dict.fromkeys(LABELS, 0.2),
        out_of_distribution=m.OutOfDistribution(
            features=(0.1,) * FEATURES,
            statistics_mean=(0.0,) * STATISTICS_SIZE,
            statistics_std=(1.0,) * STATISTICS_SIZE,
            statistics_weights=(0.0,) * STATISTICS_TERMS,
            offset=0.0,
            threshold=3.0,
            reject=4.0,
        ),
    )
    metrics = m.Metrics(
        images=4,
        accuracy=0.5,
        macro_f1=0.5,
        recall=dict.fromkeys(LABELS, 0.5),
        expected_calibration_error=0.1,
        pointing_game=None,
        coverage=1.0,
        set_size=2.0,
        teacher_agreement=1.0,
        logit_correlation=1.0,
        teacher_divergence=0.0,
        saliency_cosine=1.0,
        intervals={"accuracy": (0.25, 0.75)},
    )
    return m.Manifest(
        schema=m.SCHEMA,
        name="small",
        version="0",
        labels=LABELS,
        alert_labels=("tumor-malignant",),
        preprocess=Preprocess(
            size=SIZE, collimated_field="keep", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
        ),
        graph=m.Graph(
            size=SIZE,
            classes=len(LABELS),
            features=FEATURES,
            map_height=SIZE // 8,
            map_width=SIZE // 8,
            opset=18,
        ),
        files={},
        calibration={"fp32": calibration, "int8": calibration},
        metrics={"fp32": metrics, "int8": metrics},
        # Rounding of different kernels; a wrong weight moves the logits by whole deviations.
        golden=m.Golden(images=4, tolerance={"fp32": tolerance(1e-4), "int8": tolerance(0.05)}),
        lineage=m.Lineage(
            recipe="none",
            teacher=("none",),
            teacher_fusion=(1.0,),
            teacher_sha256="0" * 64,
            teacher_metrics=metrics,
            student="none",
            pruned_channels=0.0,
            macs=0,
            parameters=0,
            int8="by hand",
            float_layers=(),
            training_list_sha256="0" * 64,
            range_list_sha256="0" * 64,
            calibration_list_sha256="0" * 64,
            test_list_sha256="0" * 64,
            package_version="0",
        ),
        data="phantoms",
        data_licence="none",
        intended_use="tests",
    )


@pytest.fixture
def without_root():
    """Context in which the rights of files hold for this thread, even if it runs as root."""

    @contextlib.contextmanager
    def drop():
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread: capabilities(7)
        before, now = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
        assert libc.capget(header, before) == libc.capget(header, now) == 0
        now[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
        assert libc.capset(header, now) == 0
        try:
            yield
        finally:
            assert libc.capset(header, before) == 0

    return drop
