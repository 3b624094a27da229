"""Settings are read whole or refused by the name of their key."""

import pytest

from orthoedge.clinic.settings import _TARGETS
from orthoedge.clinic.settings_file import find_problems, read_settings
from orthoedge.clinic.words import LANGUAGES
from orthoedge.runtime.errors import ConfigError
from orthoedge.targets import TARGETS

MINIMAL = 'spool = "/var/lib/orthoedge"\n'
PACS = '[destinations.pacs]\nkind = "dicom"\nhost = "10.0.0.2"\nport = 104\nae_title = "PACS"\n'


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / "node.toml"
        file.write_text(text)
        return file

    return write


def test_the_spool_alone_is_enough(written):
    settings = read_settings(written(MINIMAL))
    assert (settings.receiver.port, settings.ae_title) == (11112, "ORTHOEDGE")
    assert settings.destinations == {}


def test_every_table_is_read(written):
    text = (
        MINIMAL
        + 'ae_title = "XRAY"\n[receiver]\nport = 104\ncalling_ae = ["ROOM1"]\n[receiver.tls]\n'
        + 'certificate = "/a.pem"\nkey = "/a.key"\nca = "/ca.pem"\n[queue]\nmax_images = 5\n'
        + '[retention]\nsettled_days = 1\n[engine]\nbundle = "phantom"\n[sending]\nretry_s = 1\n'
        + PACS
        + 'results = ["picture"]\n[destinations.pacs.rules]\nmodality = ["DX"]\n'
    )
    settings = read_settings(written(text))
    assert settings.receiver.tls.ca == "/ca.pem"
    assert settings.destinations["pacs"].rules.modality == ("DX",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Object missing required field `spool`"),
        ('spool = "spool"', "spool must be an absolute path, got 'spool'"),
        ("spool = 5", "spool: Expected `str`, got `int`"),
        (MINIMAL + "colour = 1", "Object contains unknown field `colour`"),
        (MINIMAL + "ae_title = 'a\\\\b'", "ae_title must be 1 to 16 printable ASCII"),
        (MINIMAL + "[receiver]\nport = 70000", "receiver: port must be from 1 to 65535, got 70000"),
        (MINIMAL + "[receiver]\nport = 'x'", "receiver.port: Expected `int`, got `str`"),
        (MINIMAL + "[receiver]\nprot = 1", "receiver: Object contains unknown field `prot`"),
        (MINIMAL + "[receiver]\nidle_s = nan", "receiver: idle_s must be from 0.1 to 86400"),
        (MINIMAL + "[receiver]\nother_classes = ['CT']", "receiver: other_classes: expected a UID"),
        (MINIMAL + "[receiver.tls]\nkey = '/k'", "receiver.tls: Object missing required field"),
        (MINIMAL + "[engine]\nbundle = 'b'", "engine: bundle must be an absolute path"),
        (MINIMAL + "[engine]\ntarget = 'x68'", "engine: target must be one of x86, portable, "),
        (MINIMAL + "[engine]\nprecision = 'int4'", "engine.precision: Invalid enum value 'int4'"),
        (
            MINIMAL + PACS + "results = ['repot']",
            "destinations.pacs.results[0]: Invalid enum value 'repot'; allowed: picture, report,",
        ),
        (
            MINIMAL + PACS + "[destinations.pacs.rules]\ndecision = ['no']",
            "destinations.pacs.rules.decision[0]: Invalid enum value 'no'; allowed: report, ",
        ),
        (
            MINIMAL + "[report]\npaper = 'a5'",
            "report.paper: Invalid enum value 'a5'; allowed: a4, letter",
        ),
        (MINIMAL + PACS + "port2 = 1", "destinations.pacs: Object contains unknown field `port2`"),
        (MINIMAL + PACS.replace("104", "0"), "destinations.pacs: port"),
        (MINIMAL + PACS.replace("pacs", '"a b"'), "destinations.a b: a name has 1 to 32 letters"),
        (MINIMAL + "x = ", "not TOML: Invalid value (at "),
    ],
)
def test_what_is_wrong_is_named(written, text, problem):
    file = written(text)
    with pytest.raises(ConfigError) as raised:
        read_settings(file)
    assert str(raised.value).startswith(f"{file}: {problem}")
    assert find_problems(file)[0].startswith(problem)


def test_the_languages_of_a_page_are_those_of_the_words(written):
    for language in LANGUAGES:
        file = written(f"{MINIMAL}[report]\nlanguage = '{language}'")
        assert read_settings(file).report.language == language


def test_the_targets_are_those_of_the_engines(written):
    for target in TARGETS:
        file = written(f"{MINIMAL}[engine]\ntarget = '{target}'")
        assert read_settings(file).engine.target == target
    assert set(_TARGETS) == set(TARGETS)


def test_the_check_names_a_problem_of_every_table(written):
    text = MINIMAL + "[receiver]\nport = 0\n[queue]\nmax_images = 0\n" + PACS + "timeout_s = 0\n"
    problems = find_problems(written(text))
    assert [problem.split(":")[0] for problem in problems] == [
        "receiver",
        "queue",
        "destinations.pacs",
    ]


def test_a_file_that_is_no_text_is_one_line(tmp_path):
    file = tmp_path / "node.toml"
    file.write_bytes(b"spool = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8, byte 9"):
        read_settings(file)
