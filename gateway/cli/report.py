"""Counts over a backup copy of the store, as JSON: `python -m gateway.cli.report COPY`.

A program of its own, since sqlite-utils brings the standard library's SQLite: it must never open a live store, nor
share a process with the SQLite of the server.
"""

from __future__ import annotations

import json
import sys
from typing import Any

REPORTS = {
    "orders by status": "SELECT status, count(*) AS orders FROM orders GROUP BY status ORDER BY status",
    "certificates by state": (
        "SELECT state, coalesce(reason, '') AS reason, count(*) AS certificates FROM certificate_status"
        " GROUP BY 1, 2 ORDER BY 1, 2"
    ),
    "certificates by product": (
        "SELECT body ->> '$.product' AS product, count(*) AS certificates FROM certificates GROUP BY 1 ORDER BY 2 DESC"
    ),
    "certificates by credential": (
        "SELECT coalesce(k.identifier, c.credential) AS credential, count(*) AS certificates"
        " FROM certificates AS c LEFT JOIN credentials AS k ON k.id = c.credential"
        " GROUP BY c.credential ORDER BY 2 DESC LIMIT 50"
    ),
    "certificates by month": (
        "SELECT substr(body ->> '$.not_before', 1, 7) AS month, count(*) AS certificates"
        " FROM certificates GROUP BY 1 ORDER BY 1"
    ),
    "certificates that expire": (
        "SELECT strftime('%Y-%m', not_after, 'unixepoch') AS month, count(*) AS certificates"
        " FROM certificates GROUP BY 1 ORDER BY 1 LIMIT 24"
    ),
}


def tables(path: str) -> dict[str, list[dict[str, Any]]]:
    """Every report on this copy."""
    import sqlite_utils

    database = sqlite_utils.Database(path)
    try:
        return {name: list(database.query(sql)) for name, sql in REPORTS.items()}
    finally:
        database.close()


if __name__ == "__main__":
    json.dump(tables(sys.argv[1]), sys.stdout)
