"""Do whole conversations land? Sends conversations to a running service and looks every turn up in what a rep reads.

    python3 dev.py run                                       # in one terminal
    .venv/bin/python -m tests.landing conversations.jsonl    # in another

The file has one conversation a line, with ``id``, ``channel``, ``turns`` (each ``role``, ``at``, ``text``), and perhaps
``contact`` and ``classification``.
"""

import html
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import requests

STATE = Path(__file__).resolve().parent.parent / ".sandbox" / "state.json"


def body_of(conversation: dict[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """The request for a conversation of the file."""
    contact = dict(conversation.get("contact") or {})
    roles = {"customer": "contact", "agent": "ai"}
    return {
        "session_id": f"{prefix}{conversation['id']}",
        "channel": conversation["channel"],
        "summary": f"Conversation {conversation['id']}",
        "classification": conversation.get("classification"),
        "contact": contact,
        "transcript": [
            {"role": roles.get(turn["role"], turn["role"]), "at": turn["at"], "text": turn["text"]}
            for turn in conversation["turns"]
        ],
    }


def missing_turns(texts: list[str], document: str) -> int:
    """How many of the texts are not found, in order, in a document."""
    position = missing = 0
    for text in texts:
        found = document.find(text.strip(), position)
        if found < 0:
            missing += 1
        else:
            position = found + len(text.strip())
    return missing


class Rep:
    """What a rep reads of a record: its description, then its notes in order."""

    def __init__(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        self._records = {row["incidentid"]: row["description"] for row in rows["incidents"]}
        self._records |= {row["oc_liveworkitemid"]: row["oc_description"] for row in rows["oc_liveworkitems"]}
        self._notes: dict[str, list[tuple[int, str]]] = {}
        for row in rows["annotations"]:
            number = int([*row["subject"].split(), "1"][1])
            note = (number, html.unescape(row["notetext"]))
            self._notes.setdefault(row["_objectid_value"], []).append(note)

    def reads(self, record_id: str) -> str:
        """The document of one record. Raises KeyError when there is none."""
        notes = [text for _, text in sorted(self._notes.get(record_id, []))]
        return "\n".join(notes) if notes else str(self._records[record_id])


def main(path: Path) -> int:
    """Send all, read all back, print what was found; 0 only if every turn was."""
    state = json.loads(STATE.read_text("utf-8"))
    conversations = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    prefix = f"landing-{int(time.time())}-"
    answers: dict[str, dict[str, Any]] = {}
    session = requests.Session()
    started = time.monotonic()
    for conversation in conversations:
        answer = session.post(
            f"{state['functions']['url']}/api/handoff",
            json=body_of(conversation, prefix=prefix),
            headers={"x-functions-key": state["functions"]["key"]},
            timeout=60,
        )
        answers[conversation["id"]] = answer.json() | {"http": answer.status_code}
    seconds = time.monotonic() - started
    rows = {
        name: session.get(f"{state['dataverse']['url']}/_sandbox/rows/{name}", verify=state["ca_file"]).json()
        for name in ("incidents", "oc_liveworkitems", "annotations")
    }
    rep = Rep({name: found["value"] if isinstance(found, dict) else found for name, found in rows.items()})
    turns = missing = 0
    for conversation in conversations:
        answer_ = answers[conversation["id"]]
        record_id = answer_.get("dynamics365_incident_id") or answer_.get("dynamics365_chat_id")
        texts = [turn["text"] for turn in conversation["turns"]]
        turns += len(texts)
        missing += missing_turns(texts, rep.reads(record_id)) if record_id else len(texts)
    statuses = Counter(f"{each['http']} {each.get('kind')}" for each in answers.values())
    print(f"{len(conversations)} conversations in {seconds:.1f} s: {dict(statuses)}")
    print(f"{turns} turns, {missing} not found in what a rep reads")
    return 0 if missing == 0 and all(each["http"] == 201 for each in answers.values()) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
