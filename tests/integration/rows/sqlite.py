"""sqlite.py SCHEMA QUERY: makes a database in memory and writes each row that the query gives as a line: its one
column as it is, or a row of several as JSON."""

import json
import sqlite3
import sys

schema, query = sys.argv[1:]
database = sqlite3.connect(":memory:")
database.executescript(schema)
database.row_factory = sqlite3.Row
for row in database.execute(query):
    print(row[0] if len(row) == 1 else json.dumps(dict(row), ensure_ascii=False, separators=(",", ":")))
