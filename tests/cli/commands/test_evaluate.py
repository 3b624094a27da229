"""`orthoedge evaluate` and the report that training leaves, on a run of the recipe `tiny`."""

import csv
import shutil

import msgspec
import numpy as np
import pytest

from orthoedge.cli.main import main

PICTURES = ("confusion.png", "roc.png", "reliability.png", "maps.png", "misses.png")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Phantoms of another seed than the run's."""
    from orthoedge.training.phantoms.render import write_phantoms

    folder = tmp_path_factory.mktemp("others") / "phantoms"
    write_phantoms(folder, 40, seed=2, size=96)
    return folder


@pytest.fixture(scope="module")
def evaluated(tiny_run, others, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "report"
    assert main(["evaluate", str(tiny_run), "--data", str(others), "--out", str(out)]) == 0
    return out


def read(folder):
    from orthoedge.training.evaluation.schema import JSON, EvaluationReport

    return msgspec.json.decode((folder / JSON).read_bytes(), type=EvaluationReport)


def evaluate_by_hand(run_folder, studies_of):
    from orthoedge.training.data.dataset import RadiographDataset
    from orthoedge.training.evaluation.predictions import evaluate
    from orthoedge.training.run_folder import load_run

    run = load_run(run_folder)
    data = RadiographDataset(studies_of(run), run.recipe.labels, run.recipe.preprocess)
    return data, evaluate(run.model, data)


@pytest.mark.slow
def test_the_report_on_unseen_phantoms_is_what_the_network_answers(tiny_run, others, evaluated):
    from sklearn import metrics

    from orthoedge.benchmarks.metrics.classification import softmax
    from orthoedge.training.data.index import read_index

    data, judged = evaluate_by_hand(tiny_run, lambda _: read_index(others))
    report = read(evaluated)
    assert report.images == report.groups == 40
    assert report.seen == 0
    assert report.accuracy.value == judged.accuracy
    np.testing.assert_array_equal(report.confusion, judged.confusion)
    expected = metrics.roc_auc_score(data.labels, softmax(judged.logits), multi_class="ovr")
    assert report.macro_auc.value == pytest.approx(expected, rel=1e-9)
    # F.cross_entropy sums in float32.
    assert report.loss.value == pytest.approx(judged.loss, rel=1e-5)
    assert report.pointing_game.images == sum(bool(boxes) for boxes in data.boxes)
    assert report.energy_in_mask.images == report.energy_in_box.images
    # A mask lies inside its boxes.
    assert 0 < report.energy_in_mask.share.value < report.energy_in_box.share.value < 1
    for found in (report.accuracy, report.macro_f1, report.pointing_game.share):
        assert found.low <= found.value <= found.high
    assert report.fusions[-1].accuracy.value == judged.accuracy
    assert {row.rule.split(":")[0] for row in report.fusions} > {"hybrid", "average of logits"}


@pytest.mark.slow
def test_the_folder_can_be_read_and_shown(evaluated):
    text = (evaluated / "evaluation.md").read_text("utf-8")
    assert "the figures say nothing about patients" in text
    assert f"orthoedge evaluate {read(evaluated).command.split()[2]}" in text
    assert "without looking at anatomy" in text
    for name in (*PICTURES, "shortcuts.png"):
        assert f"]({name})" in text
        assert (evaluated / name).stat().st_size < 80_000
    links = {part.split(")")[0] for part in text.split("](")[1:]}
    assert links == {path.name for path in evaluated.glob("*.png")}, "every picture is shown"
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


def test_training_leaves_the_same_report_of_its_test_part(tiny_run):
    from orthoedge.training.run_folder import load_run

    report = read(tiny_run / "evaluation")
    metrics = load_run(tiny_run).metrics
    assert report.images == metrics.images
    assert report.accuracy.value == metrics.accuracy
    assert report.macro_f1.value == metrics.macro_f1
    assert report.pointing_game.share.value == metrics.pointing_game
    for label, recall in metrics.recall.items():
        assert report.classes[label].recall.value == pytest.approx(recall, rel=1e-12)


@pytest.mark.slow
def test_the_same_evaluation_gives_the_same_json(tiny_run, others, evaluated, tmp_path):
    assert main(["evaluate", str(tiny_run), "--data", str(others), "--out", str(tmp_path)]) == 0
    assert msgspec.structs.replace(read(tmp_path), command="") == msgspec.structs.replace(
        read(evaluated), command=""
    )


def outcome(capsys, *arguments):
    """Exit status, and the one line on stderr."""
    capsys.readouterr()
    status = main(["evaluate", *map(str, arguments)])
    (line,) = capsys.readouterr().err.splitlines()
    return status, line


@pytest.mark.slow
def test_images_that_the_run_was_trained_on_are_refused_even_under_another_name(
    tiny_run, others, tmp_path, capsys
):
    from orthoedge.training.run_folder import load_run

    shutil.copytree(others, tmp_path / "set")
    seen = load_run(tiny_run).splits.train[0]
    shutil.copy(seen.path, tmp_path / "set" / "images" / "other_name.png")
    with (tmp_path / "set" / "index.csv").open("a", newline="") as index:
        csv.writer(index).writerow(["images/other_name.png", seen.label, "x", "phantom"] + [""] * 4)
    out = tmp_path / "out"
    status, line = outcome(capsys, tiny_run, "--data", tmp_path / "set", "--out", out)
    assert status == 2
    assert "1 of 41 images" in line
    assert "other_name.png" in line
    assert "--allow-seen" in line
    assert not out.exists()

    arguments = [tiny_run, "--data", tmp_path / "set", "--out", out, "--allow-seen"]
    assert main(["evaluate", *map(str, arguments)]) == 0
    assert read(out).seen == 1
    assert "**1 of them were in the run's training" in (out / "evaluation.md").read_text("utf-8")


@pytest.mark.slow
def test_images_of_the_run_that_have_changed_are_told(tiny_run, phantoms, others, tmp_path, capsys):
    from orthoedge.training.run_folder import load_run

    moved, out = tmp_path / "moved", tmp_path / "out"
    shutil.copytree(phantoms, moved)
    arguments = [tiny_run, "--data", others, "--out", out, "--run-data", moved]
    assert main(["evaluate", *map(str, arguments)]) == 0
    run = load_run(tiny_run)
    for part in (run.splits.train, run.splits.val):
        file = moved / part[0].path.relative_to(phantoms)
        content = file.read_bytes()
        shutil.copy(others / "images" / "00000.png", file)
        shutil.rmtree(out, ignore_errors=True)
        status, line = outcome(capsys, *arguments)
        assert status == 2
        assert "no longer those it was trained on" in line
        assert "--run-data DIR" in line
        assert not out.exists()
        file.write_bytes(content)


def test_what_cannot_be_evaluated_is_told_in_one_line(tiny_run, others, tmp_path, capsys):
    out = tmp_path / "out"
    status, line = outcome(capsys, others, "--data", others, "--out", out)
    assert (status, "not a run folder" in line) == (2, True)

    status, line = outcome(capsys, tiny_run, "--data", tmp_path, "--out", out)
    assert (status, "neither index.csv nor sub-folders" in line) == (2, True)

    index = (others / "index.csv").read_text("utf-8")
    bad = others / "bad.csv"
    bad.write_text(index.replace("tumor-benign", "cyst"), "utf-8")
    status, line = outcome(capsys, tiny_run, "--data", bad, "--out", out)
    assert (status, "label cyst is not one of" in line) == (2, True)

    lines = [row for row in index.splitlines() if "tumor" not in row and "non-" not in row]
    bad.write_text("\n".join(lines), "utf-8")
    status, line = outcome(capsys, tiny_run, "--data", bad, "--out", out)
    assert (status, "no image has the label non-affected" in line) == (2, True)
    assert not out.exists()


@pytest.mark.slow
def test_a_set_of_some_of_the_labels_answers_the_questions_about_them(
    tiny_run, others, tmp_path, capsys
):
    index, some = (others / "index.csv").read_text("utf-8"), others / "some.csv"
    rows = [row for row in index.splitlines() if "tumor" not in row]
    some.write_text("\n".join(rows), "utf-8")
    out = tmp_path / "out"
    assert main(["evaluate", str(tiny_run), "--data", str(some), "--out", str(out)]) == 0
    assert "no image has the label tumor-benign or tumor-malignant" in capsys.readouterr().err
    report = read(out)
    assert report.images == len(rows) - 1
    assert [answer.question for answer in report.answers if not answer.part] == ["fracture"]
