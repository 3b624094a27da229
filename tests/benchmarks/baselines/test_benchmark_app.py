"""The floor: OpenVINO's own application is asked for the same work, and read as it tells it."""

import importlib.util

import pytest

from orthoedge.benchmarks.baselines import benchmark_app
from orthoedge.runtime.errors import EngineError, MissingDependency


@pytest.fixture
def application(tmp_path, monkeypatch):
    """Put a program in the application's place."""

    def put(code):
        (tmp_path / "stand_in.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(benchmark_app, "_APPLICATION", "stand_in")

    return put


def runs(bundle, threads=1):
    return list(benchmark_app.run_benchmark_app(bundle, "int8", threads, runs=1, seconds=1))


@pytest.mark.slow
def test_the_application_and_the_minimal_inference_time_the_same_model(small_bundle):
    pytest.importorskip("openvino")
    (run,) = runs(small_bundle)
    assert run.minimal_ms > 0
    assert run.application_ms >= 0  # to 0.01 ms, and this model may take less


def test_it_is_given_the_model_the_threads_and_no_more_than_one_request(small_bundle, application):
    application(
        "import json, pathlib, sys\n"
        "def main():\n"
        "    given = dict(zip(sys.argv, sys.argv[1:]))\n"
        "    assert pathlib.Path(given['-m']).read_bytes()\n"
        "    assert (given['-nthreads'], given['-nireq'], given['-api']) == ('3', '1', 'sync')\n"
        "    assert (given['-infer_precision'], given['-pin']) == ('f32', 'NO')\n"
        "    assert given['-shape'] == '[1,1,32,32]' and given['-t'] == '1'\n"
        "    told = {'latency (ms)': '0.25', 'avg latency': '0.30', 'more': 1,\n"
        "            'total number of iterations': '4000'}\n"
        "    report = pathlib.Path(given['-report_folder'], 'benchmark_report.json')\n"
        "    report.write_text(json.dumps({'execution_results': told, 'cmd_options': {}}))\n"
    )
    (run,) = runs(small_bundle, threads=3)
    assert run.application_ms == 0.25


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def main(): raise SystemExit('no such option')", "benchmark_app failed: no such option"),
        ("def main(): pass", "benchmark_app failed: no output"),
        (
            "import sys\ndef main():\n"
            "    open(sys.argv[-1] + '/benchmark_report.json', 'w').write('{}')",
            "benchmark_app wrote a report of an unknown form",
        ),
    ],
)
def test_an_application_that_does_otherwise_is_one_line(code, said, small_bundle, application):
    application(code)
    with pytest.raises(EngineError, match=said):
        runs(small_bundle)


def test_without_the_application_the_reason_is_told(small_bundle, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="benchmark_app"):
        runs(small_bundle)
