"""The tables of the history, one script for each version of them.

A finding, an opinion and an entry of the audit trail are never changed: triggers refuse it. An
opinion that was changed is a new row. Deleting a finding deletes what belongs to it; the audit
trail keeps its number alone. The JSON of a finding has a table of its own, so that those that are
searched stay small.
"""

from __future__ import annotations

__all__ = ["MIGRATIONS", "REVERSALS"]

_FIRST = """
CREATE TABLE findings (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    day TEXT NOT NULL,
    origin TEXT NOT NULL,
    file_name TEXT NOT NULL,
    failure TEXT NOT NULL,
    label TEXT NOT NULL,
    decision TEXT NOT NULL,
    probability REAL NOT NULL,
    alert INTEGER NOT NULL,
    out_of_distribution REAL,
    diameter_mm REAL,
    patient_id TEXT NOT NULL,
    patient_name TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    sex TEXT NOT NULL,
    study_date TEXT NOT NULL,
    study_time TEXT NOT NULL,
    accession TEXT NOT NULL,
    description TEXT NOT NULL,
    body_part TEXT NOT NULL,
    laterality TEXT NOT NULL,
    view TEXT NOT NULL,
    institution TEXT NOT NULL,
    row_spacing REAL,
    column_spacing REAL,
    image_sha256 TEXT NOT NULL,
    key TEXT,
    width INTEGER,
    height INTEGER,
    bits INTEGER,
    window_center REAL,
    window_width REAL,
    pixels TEXT
);
CREATE UNIQUE INDEX findings_by_key ON findings (key) WHERE key IS NOT NULL;
CREATE INDEX findings_by_day ON findings (day, number);
CREATE INDEX findings_by_decision ON findings (decision, number);
CREATE INDEX findings_by_patient ON findings (patient_id, number);
CREATE INDEX findings_by_pixels ON findings (pixels);
CREATE TABLE answers (
    number INTEGER PRIMARY KEY REFERENCES findings (number) ON DELETE CASCADE,
    finding BLOB NOT NULL
);
CREATE TRIGGER answers_stay BEFORE UPDATE ON answers
BEGIN SELECT RAISE(ABORT, 'a finding is never changed'); END;
CREATE TRIGGER findings_stay BEFORE UPDATE ON findings
BEGIN SELECT RAISE(ABORT, 'a finding is never changed'); END;
CREATE TABLE opinions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    finding INTEGER NOT NULL REFERENCES findings (number) ON DELETE CASCADE,
    time REAL NOT NULL,
    user TEXT NOT NULL,
    agrees INTEGER NOT NULL,
    label TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE INDEX opinions_by_finding ON opinions (finding, number);
CREATE TRIGGER opinions_stay BEFORE UPDATE ON opinions
BEGIN SELECT RAISE(ABORT, 'an opinion is never changed'); END;
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    user TEXT NOT NULL,
    action TEXT NOT NULL,
    finding INTEGER NOT NULL,
    detail TEXT NOT NULL
);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is never changed'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is never changed'); END;
"""

# `trigram` finds any part of a word in any script, from three characters on; `searched_text` writes
# the words so that it finds the beginnings of shorter ones too.
_SEARCH = """
CREATE INDEX findings_with_alert ON findings (number) WHERE alert;
CREATE VIRTUAL TABLE searched USING fts5 (text, tokenize='trigram');
INSERT INTO searched (rowid, text) SELECT number, searched_text(
    patient_name, patient_id, accession, file_name, description, body_part, day) FROM findings;
CREATE TRIGGER findings_are_searched AFTER INSERT ON findings BEGIN
    INSERT INTO searched (rowid, text) VALUES (NEW.number, searched_text(
        NEW.patient_name, NEW.patient_id, NEW.accession, NEW.file_name, NEW.description,
        NEW.body_part, NEW.day));
END;
CREATE TRIGGER findings_are_forgotten AFTER DELETE ON findings BEGIN
    DELETE FROM searched WHERE rowid = OLD.number;
END;
"""

_NO_SEARCH = """
DROP TRIGGER findings_are_searched;
DROP TRIGGER findings_are_forgotten;
DROP TABLE searched;
DROP INDEX findings_with_alert;
"""

_PLANE = """
ALTER TABLE findings ADD COLUMN spacing_plane TEXT NOT NULL DEFAULT '';
"""

_NO_PLANE = """
ALTER TABLE findings DROP COLUMN spacing_plane;
"""

# All that a search asks for beside words, in order, so that it looks up no finding for it.
_FILTERS = """
CREATE INDEX findings_by_decision_and_day ON findings (decision, day, number);
CREATE INDEX findings_with_alert_by_day ON findings (day, number, alert) WHERE alert;
"""

_NO_FILTERS = """
DROP INDEX findings_by_decision_and_day;
DROP INDEX findings_with_alert_by_day;
"""

MIGRATIONS = (_FIRST, _SEARCH, _PLANE, _FILTERS)
"""Version 1, and what leads from each version to the next."""

REVERSALS = (_NO_SEARCH, _NO_PLANE, _NO_FILTERS)
"""What leads from version 2 to 1, from 3 to 2, and so on, with every finding, opinion and entry."""
