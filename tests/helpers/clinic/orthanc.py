"""An Orthanc of its own for a test: DICOM, DICOMweb and storage commitment."""

import contextlib
import json
import subprocess
import urllib.request
from pathlib import Path
from typing import NamedTuple

from tests.helpers.clinic.peers import free_port, wait_for_port
from tests.helpers.clinic.programs import require, require_file

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TITLE = "ORTHANC"


class Orthanc(NamedTuple):
    """A running Orthanc."""

    dicom: int
    http: int
    process: subprocess.Popen

    @property
    def web(self):
        """Base address of its DICOMweb service."""
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def get(self, address):
        """The JSON at an address below its root."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}/{address}",
            headers={"Accept": "application/dicom+json, application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def file(self, sop_instance_uid):
        """The bytes that it has of an object."""
        return self._of_instance(sop_instance_uid, "file")

    def preview(self, sop_instance_uid):
        """An image of it as its own page shows it, a PNG."""
        return self._of_instance(sop_instance_uid, "preview")

    def _of_instance(self, sop_instance_uid, what):
        root = f"http://127.0.0.1:{self.http}"
        lookup = urllib.request.Request(f"{root}/tools/lookup", data=sop_instance_uid.encode())
        with urllib.request.urlopen(lookup, timeout=60) as answer:
            (one,) = json.loads(answer.read())
        with urllib.request.urlopen(f"{root}/instances/{one['ID']}/{what}", timeout=60) as answer:
            return answer.read()


@contextlib.contextmanager
def orthanc(folder, *, reports_to, ports=None):
    """Run Orthanc, which reports commitments to the port of AE `ORTHOEDGE`.

    `ports`, of DICOM and HTTP, and the same folder are those of one that was killed.
    """
    program = require("Orthanc")
    dicom, http = ports or (free_port(), free_port())
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": TITLE,
        "DicomPort": dicom,
        "HttpPort": http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {"node": ["ORTHOEDGE", "127.0.0.1", reports_to]},
        "Plugins": [str(require_file(_PLUGIN, "orthanc-dicomweb"))],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(file)], stdout=log, stderr=log)
        try:
            wait_for_port(http)
            wait_for_port(dicom)
            yield Orthanc(dicom, http, process)
        finally:
            process.terminate()
            process.wait(60)
