"""How long a history takes to search: `python -m tests.helpers.history.search_times FOLDER COUNT`.

Fills a new history with so many findings, or takes the one that is there, and prints the median and
the longest of nine searches of each kind: by the clock, and what they took of the processor, which
other work on the machine does not lengthen. The figure in docs/use/clinic.md is printed by it.
"""

import random
import statistics
import sys
import time
from pathlib import Path

from orthoedge.clinic.history import History, SearchQuery
from orthoedge.clinic.history.history import _columns
from tests.helpers.history.findings import finding_json, new_finding

FIRST = [a + b for a in ("Mu", "Ka", "Li", "Sa", "Te", "Wa", "Zu") for b in ("ller", "mau", "dula")]
GIVEN = ["Anna", "Amina", "Juma", "José", "Wei", "Fatima", "Pierre", "Ravi", "Zainab", "Tom"]
MAP_BYTES = 2500
TIMES = 9
QUERIES = {
    "list": SearchQuery(),
    "a page further on": SearchQuery(before=50_000),
    "name": SearchQuery(text="mull"),
    "two words": SearchQuery(text="zudula zainab"),
    "two letters": SearchQuery(text="wa"),
    "id": SearchQuery(text="p012345"),
    "nothing": SearchQuery(text="nobody"),
    "two days": SearchQuery(first_day="2024-05-01", last_day="2024-05-02"),
    "decision": SearchQuery(decision="reject"),
    "name, decision and year": SearchQuery(
        text="anna", decision="refer", first_day="2023-01-01", last_day="2023-12-31"
    ),
    "decision and two old days": SearchQuery(
        decision="reject", first_day="2020-01-01", last_day="2020-01-02"
    ),
    "word of all, day of none": SearchQuery(text="wrist", first_day="2030-01-01"),
    "word of all, rare decision": SearchQuery(text="wrist", decision="failure"),
    "word of all, alert of none": SearchQuery(text="wrist", decision="alert"),
    "words that seldom meet": SearchQuery(text="2020-01 zainab muller"),
}


def fill(history, count):
    chance = random.Random(1)
    body = finding_json() + b" " * MAP_BYTES
    with history.database.transaction() as connection:
        for number in range(count):
            day = f"20{chance.randrange(20, 27)}-{chance.randrange(1, 13):02}-{number % 28 + 1:02}"
            new = new_finding(
                f"{chance.choice(FIRST)}, {chance.choice(GIVEN)}",
                patient_id=f"P{chance.randrange(count):06}",
                date=day,
                decision=chance.choice(["report", "refer", "refer", "reject"]),
                file_name=f"IM{number:06}.dcm",
            )
            row = _columns(new, None, 1.7e9 + number * 60)
            marks = ", ".join("?" * len(row))
            query = f"INSERT INTO findings ({', '.join(row)}) VALUES ({marks})"
            entered = connection.execute(query, list(row.values())).lastrowid
            connection.execute("INSERT INTO answers VALUES (?, ?)", (entered, body))


def main(folder, count):
    is_new = not (Path(folder) / "history.sqlite").exists()
    history = History(Path(folder))
    if is_new:
        fill(history, int(count))
    for name, query in QUERIES.items():
        clock, processor = [], []
        for _ in range(TIMES):
            begun, worked = time.perf_counter(), time.process_time()
            found = history.search(query)
            processor.append((time.process_time() - worked) * 1e3)
            clock.append((time.perf_counter() - begun) * 1e3)
        print(
            f"{name:27} {len(found):3} findings  median {statistics.median(clock):6.1f} ms, "
            f"longest {max(clock):6.1f} ms; of the processor {statistics.median(processor):6.1f} "
            f"and {max(processor):6.1f} ms"
        )
    history.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
