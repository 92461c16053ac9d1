"""Copy the text of queries/*.kql into workbook.json, so that each query is written once.

Usage: ``python3 infra/monitoring/sync.py``. A part of the workbook takes the query whose file has its name.
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WORKBOOK = HERE / "workbook.json"
QUERY = 3
"""The type of a part that shows a query (Azure Monitor: workbook items)."""
TYPED_BY_READER = {"one-handoff": ('"demo-1"', '"{Handoff}"')}
"""Parts in which the workbook's reader types a value: what the file has, and the workbook's parameter instead."""


def query_of(name: str) -> str:
    """The text that the part of this name must have. Raises FileNotFoundError when there is no such query."""
    text = (HERE / "queries" / f"{name}.kql").read_text(encoding="utf-8")
    return text.replace(*TYPED_BY_READER[name]) if name in TYPED_BY_READER else text


def synced(workbook: dict[str, Any]) -> dict[str, Any]:
    """The workbook with every query as its file has it."""
    for item in workbook["items"]:
        if item["type"] == QUERY:
            item["content"]["query"] = query_of(item["name"])
    return workbook


if __name__ == "__main__":
    now = json.loads(WORKBOOK.read_text(encoding="utf-8"))
    WORKBOOK.write_text(json.dumps(synced(now), indent=2) + "\n", encoding="utf-8")
