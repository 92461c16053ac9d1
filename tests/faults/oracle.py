"""The judge. It believes only the rows that the Dataverse stand-in holds, and the rows of the ledger."""

import html
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.handoff.text import clean
from tests.faults.stories import CHATS, INCIDENTS, Story
from tests.faults.world import World

DUPLICATE, LOST, ORPHAN, STUCK, WRONG = "duplicate", "lost", "orphan contact", "stuck", "wrong"
_SESSION = re.compile(r"^Session: (\S+)$", re.MULTILINE)
_MADE_BY_US = "Created from chat session "

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Expected:
    """A handoff that must have landed.

    Attributes:
        must_have_record: whether the ledger must know it; not when the table was out of reach.
        may_lack_transcript: OpenCX refused to give it, which a notice says.
        may_lack_queue: the queue refused the case, which a notice says.
        may_not_exist: nobody was told that it was accepted.
        most_attempts: attempts that it may have used up.
    """

    handoff_id: str
    story: Story
    must_have_record: bool = True
    may_lack_transcript: bool = False
    may_lack_queue: bool = False
    may_not_exist: bool = False
    most_attempts: int | None = None


@dataclass(frozen=True)
class Finding:
    """One rule that does not hold for one handoff."""

    kind: str
    handoff_id: str
    text: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.kind}: {self.handoff_id}: {self.text}"


@dataclass
class Stand:
    """What Dataverse and the ledger hold, sorted by handoff."""

    records: dict[str, list[Mapping[str, Any]]]
    contacts: Rows
    notes: dict[str, list[Mapping[str, Any]]]
    queued: Counter[str]
    ledger: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    markers: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)


def judge(world: World, expected: Iterable[Expected]) -> list[Finding]:
    """Everything that is wrong with these handoffs, and with the world as a whole."""
    return judge_rows(
        {name: world.dataverse.rows(name) for name in (INCIDENTS, CHATS, "contacts", "annotations", "queueitems")},
        world.rows(),
        list(expected),
    ) + [Finding(WRONG, "-", f"the service crashed: {crash}") for crash in world.crashes]


def judge_rows(dataverse: Mapping[str, Rows], ledger: Rows, expected: Sequence[Expected]) -> list[Finding]:
    """The same, from rows that were read by whatever way."""
    stand = _stand(dataverse, ledger)
    found: list[Finding] = []
    for each in expected:
        found += _judge_landing(stand, each)
        found += _judge_record(stand, each)
    found += _judge_contacts(stand)
    known = {each.handoff_id for each in expected}
    for handoff_id in stand.records.keys() - known:
        found.append(Finding(WRONG, handoff_id, "a record that nobody asked for"))
    for key, count in stand.markers.items():
        if count != 1:
            found.append(Finding(WRONG, key[:12], f"{count} markers in the ledger"))
    return found


def waiting(ledger: Rows) -> list[Mapping[str, Any]]:
    """The ledger's records that are not terminal."""
    return [row for row in ledger if row["RowKey"].startswith("h:") and row["State"] in ("pending", "retrying")]


def _stand(dataverse: Mapping[str, Rows], ledger: Rows) -> Stand:
    records: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for name, column in ((INCIDENTS, "description"), (CHATS, "oc_description")):
        for row in dataverse[name]:
            session = _SESSION.search(row.get(column) or "")
            text = row.get(column)
            records[session[1] if session else "?"].append({**row, "_set": name, "_text": text})
    notes: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in dataverse["annotations"]:
        notes[str(row.get("_objectid_value"))].append(row)
    queued = Counter(str(row.get("_objectid_value")) for row in dataverse["queueitems"])
    stand = Stand(records, dataverse["contacts"], notes, queued)
    for row in ledger:
        kind, _, rest = row["RowKey"].partition(":")
        if kind == "h":
            stand.ledger[row["HandoffId"]] = row
            stand.markers[rest] += 0
        elif kind == "p":
            stand.parts[rest.partition(":")[0]] += 1
        elif kind in ("d", "f", "c"):
            stand.markers[rest.rpartition(":")[2]] += 1
    return stand


def _judge_landing(stand: Stand, each: Expected) -> list[Finding]:
    rows = stand.records.get(each.handoff_id, [])
    found = []
    if not rows:
        if each.may_not_exist and each.handoff_id not in stand.ledger:
            return []
        return [Finding(LOST, each.handoff_id, "no record in Dataverse")]
    if len(rows) > 1:
        found.append(Finding(DUPLICATE, each.handoff_id, f"{len(rows)} records in Dataverse"))
    row = rows[0]
    if row["_set"] != each.story.entity_set:
        found.append(Finding(WRONG, each.handoff_id, f"in {row['_set']}"))
    row_id = str(row["incidentid" if row["_set"] == INCIDENTS else "oc_liveworkitemid"])
    if not each.may_lack_transcript:
        found += _judge_transcript(stand, each, row, row_id)
    if row["_set"] == INCIDENTS:
        count = stand.queued[row_id]
        if count > 1 or (count == 0 and not each.may_lack_queue):
            found.append(Finding(WRONG, each.handoff_id, f"in its queue {count} times"))
    return found


def _judge_transcript(stand: Stand, each: Expected, row: Mapping[str, Any], row_id: str) -> list[Finding]:
    notes = sorted(stand.notes[row_id], key=lambda note: int(re.findall(r"\d+", note["subject"] + " 1")[0]))
    text = "\n".join([row["_text"] or "", *(html.unescape(note["notetext"]) for note in notes)])
    position = 0
    for number, message in enumerate(each.story.texts(each.handoff_id), start=1):
        wanted = clean(message).replace("\n", "\n    ")
        at = text.find(wanted, position)
        if at < 0:
            return [Finding(LOST, each.handoff_id, f"message {number} is missing or out of order")]
        if text.find(wanted, at + 1) >= 0:
            return [Finding(DUPLICATE, each.handoff_id, f"message {number} is there twice")]
        position = at + len(wanted)
    return []


def _judge_record(stand: Stand, each: Expected) -> list[Finding]:
    record = stand.ledger.get(each.handoff_id)
    if record is None:
        if each.must_have_record and not each.may_not_exist:
            return [Finding(LOST, each.handoff_id, "the ledger does not know it")]
        return []
    found = []
    state = record["State"]
    if state in ("pending", "retrying"):
        text = f"{state} after {record['Attempts']} attempts ({record['ErrorCode']})"
        found.append(Finding(STUCK, each.handoff_id, text))
    elif state == "failed":
        found.append(Finding(LOST, each.handoff_id, f"given up ({record['ErrorCode']})"))
    else:
        found += _judge_completed(stand, each, record)
    if each.most_attempts is not None and record["Attempts"] > each.most_attempts:
        found.append(Finding(WRONG, each.handoff_id, f"{record['Attempts']} attempts used up"))
    return found


def _judge_completed(stand: Stand, each: Expected, record: Mapping[str, Any]) -> list[Finding]:
    found = []
    key = record["RowKey"].partition(":")[2]
    if any(name[:1] == "P" and name[1:].isdigit() for name in record) or stand.parts[key]:
        found.append(Finding(WRONG, each.handoff_id, "completed, and its payload is still stored"))
    outcome = json.loads(record["Outcome"])
    row = next(iter(stand.records.get(each.handoff_id, [])), None)
    if row is not None and outcome["record_id"] not in (row.get("incidentid"), row.get("oc_liveworkitemid")):
        found.append(Finding(WRONG, each.handoff_id, "the ledger names a record that does not exist"))
    linked = outcome["contact"]["id"]
    if row is not None and linked is not None:
        stands = (row.get("_primarycontactid_value"), row.get("_customerid_value"), row.get("_oc_contactid_value"))
        if linked not in stands:
            found.append(Finding(WRONG, each.handoff_id, "the ledger names a contact that is not linked"))
    if row is not None and row["_set"] == INCIDENTS and not outcome["ticket_number"]:
        found.append(Finding(WRONG, each.handoff_id, "completed without its ticket number"))
    codes = {notice["code"] for notice in outcome["warnings"]}
    if each.may_lack_transcript and "transcript_unavailable" not in codes:
        return found + _judge_transcript(stand, each, row or {}, outcome["record_id"])
    return found


def _judge_contacts(stand: Stand) -> list[Finding]:
    found = []
    identities: Counter[str] = Counter()
    for contact in stand.contacts:
        identity = contact.get("emailaddress1") or contact.get("mobilephone")
        if identity:
            identities[str(identity).casefold()] += 1
    found += [Finding(DUPLICATE, who, f"{count} contacts") for who, count in identities.items() if count > 1]
    links = {
        value
        for rows in stand.records.values()
        for row in rows
        for name, value in row.items()
        if name.startswith("_") and name.endswith("_value")
    }
    for contact in stand.contacts:
        description = contact.get("description") or ""
        if description.startswith(_MADE_BY_US) and contact["contactid"] not in links:
            found.append(Finding(ORPHAN, description.removeprefix(_MADE_BY_US), contact["contactid"]))
    return found
