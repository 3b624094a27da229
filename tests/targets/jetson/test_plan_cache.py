"""No plan reaches TensorRT unless it is whole and was built here; no build leaves half of one.

Most builds are the stand-in's, whose plan is the ONNX file and whose timing cache grows with each.
"""

import re
import threading
from dataclasses import replace

import psutil
import pytest
from test_plan_builder import RTX, int64_model, needs_rtx

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import EngineError, MissingDependency
from orthoedge.targets.jetson import plan_cache
from orthoedge.targets.jetson.plan_builder import logger
from orthoedge.targets.jetson.plan_cache import build_into, load_plan, obtain_plan
from orthoedge.targets.jetson.tensorrt_module import Modules
from tests.helpers.jetson.damaged_plans import KILLED, damaged
from tests.helpers.jetson.open_plans import ORIN, TEN
from tests.helpers.tensorrt_standin import tensorrt_api as standin_tensorrt
from tests.helpers.tensorrt_standin import trt10 as standin_trt10


@pytest.fixture(autouse=True)
def own_modules(gpu, monkeypatch, tmp_path_factory):
    """Child processes find the stand-ins, and here modules that a test writes."""
    folder = tmp_path_factory.mktemp("modules")
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture(scope="module")
def model(small_bundle):
    return small_bundle.model("int8")


@pytest.fixture(scope="module")
def other(small_bundle):
    return small_bundle.model("fp32")


def in_store(folder, ending):
    (file,) = folder.glob(f"*.{ending}")
    return file


def test_a_plan_is_built_once_and_then_found(model, tmp_path, modules):
    first = obtain_plan(model, ORIN, tmp_path, modules)
    assert (first.built, first.refused) == (True, "")
    assert first.data.endswith(model)
    second = obtain_plan(model, ORIN, tmp_path, Modules("not_asked_for"))
    assert (second.built, second.refused, second.data) == (False, "", first.data)


@needs_rtx
def test_tensorrts_own_plan_and_warnings_come_back_as_they_were(tmp_path):
    model = int64_model().SerializeToString()
    first = obtain_plan(model, ORIN, tmp_path, Modules(RTX))
    assert first.built
    assert any("Int64" in warning for warning in first.warnings)
    assert load_plan(model, ORIN, tmp_path) == (replace(first, built=False), "")
    assert not list(tmp_path.glob("*.timings")), "it times nothing"


def test_without_a_store_nothing_is_kept(model, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert obtain_plan(model, ORIN, None, TEN).data.endswith(model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"name": "Thor"}, False),
        ({"compute_capability": "11.0"}, False),
        ({"multiprocessors": 4}, False),
        ({"driver": "12.8"}, False),
        ({"tensorrt": "10.3.1"}, False),
        ({"memory_mb": 7001, "cuda": "12.5"}, True),
    ],
)
def test_a_plan_is_for_one_gpu_driver_and_tensorrt(model, tmp_path, changed, found):
    build_into(tmp_path, TEN.tensorrt, ORIN, model)
    here = replace(ORIN, **changed)
    if found:
        assert load_plan(model, here, tmp_path)[0] is not None
        return
    assert load_plan(model, here, tmp_path) == (None, "")
    # The same bytes under the name that is looked for: copied from another board, say.
    built = in_store(tmp_path, "tensorrt")
    build_into(tmp_path / "here", TEN.tensorrt, here, model)
    in_store(tmp_path / "here", "tensorrt").write_bytes(built.read_bytes())
    ((_, there),) = changed.items()
    plan, refused = load_plan(model, here, tmp_path / "here")
    assert plan is None
    assert re.search(rf"was made for .* and here it is {there}", refused)


def test_a_plan_of_another_model_is_refused_and_replaced(model, other, tmp_path):
    for folder, source in (("a", model), ("b", other)):
        build_into(tmp_path / folder, TEN.tensorrt, ORIN, source)
    in_store(tmp_path / "a", "tensorrt").write_bytes(
        in_store(tmp_path / "b", "tensorrt").read_bytes()
    )
    plan = obtain_plan(model, ORIN, tmp_path / "a", TEN)
    assert plan.built
    assert plan.data.endswith(model)
    assert f"was made for model {sha256(other)}" in plan.refused
    assert load_plan(model, ORIN, tmp_path / "a")[0] == replace(plan, built=False, refused="")


def test_of_a_hundred_damaged_plans_none_reaches_tensorrt(model, other, tmp_path, monkeypatch):
    for folder, source in (("here", model), ("there", other)):
        build_into(tmp_path / folder, TEN.tensorrt, ORIN, source)
    file = in_store(tmp_path / "here", "tensorrt")
    whole, foreign = file.read_bytes(), in_store(tmp_path / "there", "tensorrt").read_bytes()
    monkeypatch.setattr(plan_cache, "_build", lambda *given: given)
    for seed in range(100):
        file.write_bytes(damaged(whole, foreign, seed))
        assert file.read_bytes() != whole
        *_, reason = obtain_plan(model, ORIN, tmp_path / "here")  # builds it
        plan, refused = load_plan(model, ORIN, tmp_path / "here")
        assert plan is None
        assert re.match(r"\w+\.tensorrt (is|was|has) ", refused)
        assert reason == refused
    file.write_bytes(whole)
    plan, _ = load_plan(model, ORIN, tmp_path / "here")
    runtime = standin_trt10.Runtime(logger(standin_trt10, []))
    assert runtime.deserialize_cuda_engine(plan.data) is not None


def test_of_a_hundred_damaged_timing_caches_none_reaches_tensorrt(
    model, other, tmp_path, monkeypatch
):
    given, create = [], standin_tensorrt.IBuilderConfig.create_timing_cache
    monkeypatch.setattr(
        standin_tensorrt.IBuilderConfig,
        "create_timing_cache",
        lambda config, data: given.append(data) or create(config, data),
    )
    build_into(tmp_path, TEN.tensorrt, ORIN, other)
    file = in_store(tmp_path, "timings")
    whole, foreign = file.read_bytes(), b"a\nb\nc\nanother board's timings"
    assert build_into(tmp_path, TEN.tensorrt, ORIN, model) == ""
    assert given.pop() == whole.split(b"\n", 3)[3], "the second build starts from the first's"
    assert in_store(tmp_path, "timings").read_bytes() != whole, "and its own are added"
    given.clear()
    for seed in range(100):
        file.write_bytes(damaged(whole, foreign, seed))
        assert file.read_bytes() != whole
        said = build_into(tmp_path, TEN.tensorrt, ORIN, model)
        assert said.startswith(file.name)
    assert set(given) == {b""}
    assert len(given) == 100


def test_what_was_refused_is_said_after_the_rebuild(model, tmp_path):
    build_into(tmp_path, TEN.tensorrt, ORIN, model)
    for ending in ("tensorrt", "timings"):
        in_store(tmp_path, ending).write_bytes(b"orthoedge tensorrt 1\nrubbish")
    plan = obtain_plan(model, ORIN, tmp_path, TEN)
    assert plan.built
    assert ".tensorrt is damaged" in plan.refused
    assert ".timings is damaged" in plan.refused
    assert load_plan(model, ORIN, tmp_path) == (replace(plan, built=False, refused=""), "")


@pytest.mark.parametrize("step", ["import", "parse", "build", "half", "rename", "renamed"])
def test_a_build_that_is_killed_leaves_a_whole_plan_or_none(model, tmp_path, own_modules, step):
    (own_modules / f"killed_{step}.py").write_text(KILLED.format(step=step))
    with pytest.raises(EngineError, match="crashed: the process was ended by SIGKILL"):
        obtain_plan(model, ORIN, tmp_path, Modules(f"killed_{step}"))
    assert len(list(tmp_path.glob("*.tensorrt"))) == (step == "renamed")
    assert build_into(tmp_path, TEN.tensorrt, ORIN, model) == ""
    assert load_plan(model, ORIN, tmp_path)[0].data.endswith(model)


@pytest.mark.slow
@needs_rtx
def test_tensorrts_own_build_killed_at_any_moment_leaves_a_whole_plan_or_none(model, tmp_path):
    ended = []
    for delay in range(40):
        killer = threading.Timer(0.05 * delay, kill_children)
        killer.start()
        try:
            obtain_plan(model, ORIN, tmp_path, Modules(RTX))
            ended.append("built")
        except EngineError as error:
            ended.append(str(error)[-7:])
        finally:  # a late timer would kill the child of another test
            killer.cancel()
            killer.join()
        for file in tmp_path.glob("*.tensorrt"):
            assert load_plan(model, ORIN, tmp_path)[0].data
            file.unlink()
    assert set(ended) == {"SIGKILL", "built"}


def kill_children():
    for child in psutil.Process().children():
        child.kill()


def test_without_tensorrt_the_child_says_what_is_missing(model, tmp_path):
    with pytest.raises(MissingDependency, match=r"tensorrt_not_here is not installed .* JetPack"):
        obtain_plan(model, ORIN, tmp_path, Modules("tensorrt_not_here"))
    assert not list(tmp_path.iterdir())


def test_a_model_that_tensorrt_refuses_is_one_line(tmp_path):
    with pytest.raises(
        EngineError, match=r"^building the engine plan: tensorrt refused"
    ) as refusal:
        obtain_plan(b"garbage", ORIN, tmp_path, TEN)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_used_is_one_line(model, tmp_path, small_files):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"^plan store .*file: Not a directory$"):
        obtain_plan(model, ORIN, tmp_path / "file", TEN)
    with (
        small_files(1000),
        pytest.raises(EngineError, match=r"^plan store .*full: File too large$"),
    ):
        build_into(tmp_path / "full", TEN.tensorrt, ORIN, model)
    assert not list((tmp_path / "full").iterdir())


def test_a_plan_that_is_gone_after_the_build_is_told(model, tmp_path, monkeypatch):
    monkeypatch.setattr(plan_cache, "run_worker", lambda *_: b'""')
    with pytest.raises(EngineError, match=r"just built is not in .*: no file"):
        obtain_plan(model, ORIN, tmp_path, TEN)
