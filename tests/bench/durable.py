"""Seconds of two durable writes of a record's size: durable.py file|sqlite FOLDER PAIRS."""
import os
import sqlite3
import sys
import time

RECORD = 470  # bytes: what a record of journal.lua takes on average


def file_pairs(folder, pairs):
    out = os.open(folder + "/pairs", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    line = b"x" * RECORD
    begun = time.perf_counter()
    for _ in range(2 * pairs):
        os.write(out, line)
        os.fdatasync(out)
    return (time.perf_counter() - begun) / pairs


def sqlite_pairs(folder, pairs):
    db = sqlite3.connect(folder + "/pairs.db", isolation_level=None)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = full")
    db.execute("create table if not exists record (seq integer primary key, line text not null)")
    line = "x" * RECORD
    begun = time.perf_counter()
    for _ in range(2 * pairs):
        db.execute("insert into record (line) values (?)", (line,))
    return (time.perf_counter() - begun) / pairs


measure = {"file": file_pairs, "sqlite": sqlite_pairs}[sys.argv[1]]
print("seconds", measure(sys.argv[2], int(sys.argv[3])))
