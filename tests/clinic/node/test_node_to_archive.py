"""storescu, a whole node and Orthanc: everything arrives, is found, and is committed to."""

import io

import pydicom

from orthoedge.clinic.destination import RESULT_KINDS
from orthoedge.clinic.spool.spool import Spool
from tests.clinic.node.test_node import counts, node, written
from tests.helpers.clinic.images import STUDY
from tests.helpers.clinic.nodes import eventually, image
from tests.helpers.clinic.orthanc import TITLE as ORTHANC
from tests.helpers.clinic.orthanc import orthanc
from tests.helpers.clinic.peers import TITLE, free_port
from tests.helpers.clinic.programs import run

__all__ = ["written"]  # a fixture
MODALITIES = {"CR", "OT", "SR", "PR", "SEG", "DOC"}


def test_an_image_and_its_results_are_committed_to_by_the_archive(written, tmp_path, capsys):
    ports = free_port(), free_port()
    results = str(list(RESULT_KINDS)).replace("'", '"')
    more = f"results = {results}\nforward_original = true\ncommitment = true\n"
    file, settings = written(ports[0], more)
    file.write_text(file.read_text().replace(TITLE, ORTHANC))
    (tmp_path / "archive").mkdir()
    reports_to = settings.receiver.port
    with orthanc(tmp_path / "archive", reports_to=reports_to, ports=ports) as archive:
        with node(file, settings):
            address = "127.0.0.1", str(settings.receiver.port)
            sent = run("storescu", "-aec", settings.ae_title, *address, image(tmp_path))
            assert sent[0] == 0, sent[1]
            eventually(lambda: ("image", "confirmed") in counts(file, capsys), patience=120)
        confirmed = {("image", "confirmed"): 1, ("pacs", "confirmed"): len(MODALITIES)}
        assert counts(file, capsys) == confirmed
        spool = Spool(settings.folder)
        rows = spool.index.read("SELECT uid, file FROM objects")
        spool.close()
        for uid, name in rows:
            kept = pydicom.dcmread(settings.folder / name)
            assert pydicom.dcmread(io.BytesIO(archive.file(uid))) == kept
        found = archive.get(f"dicom-web/studies/{STUDY}/instances")
        assert {each["00080018"]["Value"][0] for each in found} == {uid for uid, _ in rows}
        series = archive.get(f"dicom-web/studies/{STUDY}/series")
        assert {each["00080060"]["Value"][0] for each in series} == MODALITIES
