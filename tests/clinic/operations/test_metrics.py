"""The metrics tell of queue, ages, times, decisions and scores, and of no patient."""

import os
import re
import urllib.error
import urllib.request

import pytest

from orthoedge.clinic.answering import Worker
from orthoedge.clinic.destination import Destination
from orthoedge.clinic.operations.counters import CounterFile, read_counters
from orthoedge.clinic.operations.metrics import metrics_text
from orthoedge.clinic.operations.metrics_server import serve_metrics
from orthoedge.clinic.settings import OperationsSettings
from orthoedge.clinic.spool.spool import Spool
from orthoedge.targets import open_pipeline
from tests.helpers.clinic.nodes import Lines, image, new_image, node_settings
from tests.helpers.clinic.peers import free_port

_LINE = re.compile(r'[a-z_]+(\{([a-z]+="[^"\\\n]*",?)+\})? (\d+(\.\d+)?|NaN)')


@pytest.fixture
def answered(tmp_path, small_bundle, maker):
    """A spool with one answered, one waiting and one dead image, and its settings."""
    folder = Destination(kind="folder", path=str(tmp_path / "out"))
    settings = node_settings(tmp_path, destinations={"archive": folder})
    spool = Spool(settings.folder, settings.queue)
    pipeline = open_pipeline(small_bundle, target="portable")
    worker = Worker(settings, spool, pipeline, maker, Lines())
    bad = image(tmp_path, "1.2.4")
    bad.write_bytes(bad.read_bytes()[:-4000])
    for uid in ("1.2.3", "1.2.4", "1.2.5"):
        file = bad if uid == "1.2.4" else image(tmp_path, uid)
        assert spool.add_image(file, new_image(uid))
        if uid != "1.2.5":
            worker.answer(spool.next_image())
    yield settings, spool
    spool.close()


def value(text, name):
    (line,) = (each for each in text.splitlines() if each.startswith(f"{name} "))
    return float(line.rpartition(" ")[2])


def test_queue_decisions_times_and_scores_are_counted(answered):
    settings, spool = answered
    text = metrics_text(settings, spool)
    assert value(text, 'orthoedge_images{state="received"}') == 1
    assert value(text, 'orthoedge_images{state="dead"}') == 1
    assert value(text, 'orthoedge_objects{destination="archive",state="waiting"}') == 2
    assert value(text, "orthoedge_oldest_unanswered_seconds") > 0
    assert value(text, 'orthoedge_oldest_unsent_seconds{destination="archive"}') > 0
    decisions = ("report", "refer", "reject")
    assert sum(value(text, f'orthoedge_answers_total{{decision="{d}"}}') for d in decisions) == 1
    assert value(text, "orthoedge_dead_total") == 1
    assert value(text, 'orthoedge_answer_seconds_bucket{le="+Inf"}') == 1
    assert value(text, "orthoedge_answer_seconds_count") == 1
    assert value(text, "orthoedge_turnaround_seconds_sum") > 0
    median = value(text, 'orthoedge_out_of_distribution_score{quantile="0.5"}')
    assert median == value(text, "orthoedge_out_of_distribution_score_sum")


def test_every_line_is_of_the_format_and_every_metric_is_described(answered):
    settings, spool = answered
    text = metrics_text(settings, spool)
    described = re.findall(r"^# TYPE (\S+) (?:gauge|counter|histogram|summary)$", text, re.M)
    assert len(described) == len(set(described))
    for line in text.splitlines():
        if not line.startswith("# "):
            assert _LINE.fullmatch(line), line
            name = re.split(r"[{ ]", line)[0]
            assert name in described or re.sub("_(bucket|sum|count)$", "", name) in described
    assert "Doe" not in text
    assert "1.2.3" not in text


def test_the_worker_goes_on_counting_after_a_restart(tmp_path):
    path = tmp_path / "counters.json"
    for _ in range(2):
        CounterFile(path, Lines()).count_answer("refer", 0.5, 0.3, 2.0)
    counters = read_counters(path)
    assert counters.decisions == {"refer": 2}
    assert counters.latest_scores == [0.5, 0.5]
    assert sum(counters.answering) == sum(counters.turnaround) == 2


def test_a_damaged_file_of_counters_is_begun_again_with_a_line(tmp_path):
    path, log = tmp_path / "counters.json", Lines()
    path.write_bytes(b'{"dead"')
    CounterFile(path, log).count_dead()
    assert len(log.lines) == 1
    assert read_counters(path).dead == 1


def test_they_are_served_on_the_loopback_address_alone(tmp_path):
    settings = node_settings(tmp_path)
    port = free_port()
    settings = settings.__class__(
        spool=settings.spool, operations=OperationsSettings(metrics_port=port)
    )
    server = serve_metrics(settings)
    try:
        assert server.server_address == ("127.0.0.1", port)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert b"orthoedge_images" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30)
        holder = f"in use by process {os.getpid()}: .*; change metrics_port in .operations. "
        with pytest.raises(OSError, match=holder) as taken:
            serve_metrics(settings)
        assert taken.value.filename == f"port {port} of the metrics"
    finally:
        server.shutdown()
        server.server_close()


def test_there_is_no_port_unless_the_settings_name_one(tmp_path):
    from orthoedge.clinic.node import _serve_metrics

    assert _serve_metrics(node_settings(tmp_path)) is None
