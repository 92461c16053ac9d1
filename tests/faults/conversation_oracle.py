"""The judge of handoffs that become conversations: what a rep is shown, and what the ledger knows of it."""

import json
import re
from collections.abc import Sequence
from typing import Any

from shared.handoff.text import clean
from tests.faults.case import HANDOFF
from tests.faults.oracle import DUPLICATE, LOST, STUCK, WRONG, Finding
from tests.faults.stories import Story
from tests.faults.world import World

SALESFORCE, DYNAMICS = "salesforce", "dynamics365"
_OURS = re.compile(r"^--- AI conversation .*? ---\n")
_PART = re.compile(r"^OpenCX handoff [0-9a-f-]+(?:, (start|part) (\d+) of (\d+))?\n")
_NEWEST_SHOWN = 5
"""Of a transcript that is whole in a file: so many of its last messages must be in the chat, at least."""


def judge(
    world: World,
    system: str,
    story: Story,
    *,
    may_lack_transcript: bool = False,
    may_be_refused: bool = False,
    may_lack_contact: bool = False,
) -> list[Finding]:
    """Everything that is wrong with the one handoff, and with the world.

    Args:
        world: where it is.
        system: where the rep works.
        story: what was handed over.
        may_lack_transcript: OpenCX refused to give it, which a notice says.
        may_lack_contact: Dataverse refused to make one, which a notice says.
        may_be_refused: the rep's system said that the conversation takes no more: the record says so.
    """
    if may_be_refused and _is_refused(world):
        return []
    if may_lack_contact and (lacking := _without_contact(world)):
        return [] if len(world.messaging.conversations()) == 1 else lacking
    found, conversation_id = (_salesforce if system == SALESFORCE else _dynamics)(
        world, story, may_lack_transcript=may_lack_transcript
    )
    found += _judge_ledger(world, system, conversation_id, may_lack_transcript=may_lack_transcript)
    found += [Finding(WRONG, "-", f"the service crashed: {crash}") for crash in world.crashes]
    return found


def judge_shown(world: World, system: str, story: Story) -> list[Finding]:
    """What is wrong with what the rep is shown of the one handoff, before anybody writes."""
    return (_salesforce if system == SALESFORCE else _dynamics)(world, story, may_lack_transcript=False)[0]


def _without_contact(world: World) -> list[Finding]:
    """What it is when it has landed without a contact, and says so; nothing when it has one."""
    record = next(row for row in world.rows() if row["RowKey"].startswith("h:"))
    if record["State"] != "completed" or '"contact_' not in str(record["Outcome"]):
        return []
    return [Finding(WRONG, HANDOFF, "it has landed without a contact, and not once")]


def _is_refused(world: World) -> bool:
    """Whether the record says that it was refused, or that something is missing."""
    record = next(row for row in world.rows() if row["RowKey"].startswith("h:"))
    if record["State"] == "failed":
        return bool(record["ErrorCode"] == "salesforce_conversation_refused")
    return "transcript_incomplete" in str(record["Outcome"])


def _salesforce(world: World, story: Story, *, may_lack_transcript: bool) -> tuple[list[Finding], str]:
    all_ = world.salesforce.conversations()
    if len(all_) != 1:
        kind = DUPLICATE if all_ else LOST
        return [Finding(kind, HANDOFF, f"{len(all_)} conversations")], ""
    stands = world.salesforce.conversation(all_[0]["conversationId"])
    found = []
    if stands["duplicates"]:
        found.append(Finding(DUPLICATE, HANDOFF, f"{len(stands['duplicates'])} messages came more than once"))
    if len(stands["sessions"]) != 1:
        found.append(Finding(DUPLICATE, HANDOFF, f"{len(stands['sessions'])} messaging sessions"))
    attributes = stands["routingAttributes"]
    wanted = {"OpencxSessionId": HANDOFF, "Channel": story.channel}
    if "phone_number" in story.contact:
        wanted["Phone"] = story.customer(1)["phone_number"]
    if {name: attributes.get(name) for name in wanted} != wanted:
        found.append(Finding(WRONG, HANDOFF, f"routed by {attributes}"))
    texts = [one["text"] for one in stands["received"] if not one["fileId"]]
    if any(not _OURS.match(text) for text in texts):
        found.append(Finding(DUPLICATE, HANDOFF, "a message of the transcript was carried again"))
    shown = "\n".join(_OURS.sub("", text) for text in texts)
    files = [one for one in world.salesforce.desk.files.values() if one.role == "EndUser"]
    if len({one.name for one in files}) != len(files):
        found.append(Finding(DUPLICATE, HANDOFF, f"{len(files)} files"))
    messages = story.texts(HANDOFF)
    if files:
        whole = "".join(one.content.decode() for one in sorted(files, key=lambda one: one.name))
        found += _in_order(messages, whole)
        found += _in_order(messages[-_NEWEST_SHOWN:], shown)
    elif not may_lack_transcript or messages[0][:20] in shown:
        found += _in_order(messages, shown)
    return found, str(stands["conversationId"])


def _dynamics(world: World, story: Story, *, may_lack_transcript: bool) -> tuple[list[Finding], str]:
    all_ = world.messaging.conversations()
    if len(all_) != 1:
        kind = DUPLICATE if all_ else LOST
        return [Finding(kind, HANDOFF, f"{len(all_)} conversations")], ""
    stands = world.messaging.conversation(all_[0]["id"])
    found = []
    ours = (one for one in stands["activities"] if one["type"] == "message" and one["way"] == "in")
    texts = [one["text"] for one in ours if one["by"] != "start"]
    labels = [_PART.match(text) for text in texts]
    if not all(labels):
        found.append(Finding(DUPLICATE, HANDOFF, "a message of the transcript was carried again"))
    named = [label[0] for label in labels if label]
    if len(set(named)) != len(named):
        found.append(Finding(DUPLICATE, HANDOFF, f"{len(named) - len(set(named))} parts came more than once"))
    start = (stands["start_message"] or {}).get("message", "")
    if not start and world.messaging.switches.start_message_taken:
        found.append(Finding(LOST, HANDOFF, "no start message"))
    shown = "\n".join([*(_PART.sub("", text) for text in texts), _PART.sub("", start)])
    messages = story.texts(HANDOFF)
    if not may_lack_transcript or messages[0][:20] in shown:
        found += _in_order(messages, shown)
    if stands["context"].get("sessionId", {}).get("value") != HANDOFF:
        found.append(Finding(WRONG, HANDOFF, "the context names another session"))
    linked = stands["contact"] is not None
    if "email" in story.contact and not linked:
        found.append(Finding(WRONG, HANDOFF, "no contact is linked"))
    contacts = [
        row for row in world.dataverse.rows("contacts") if row.get("emailaddress1") == story.customer(1).get("email")
    ]
    if "email" in story.contact and len(contacts) != 1:
        found.append(Finding(DUPLICATE, HANDOFF, f"{len(contacts)} contacts"))
    return found, str(stands["id"])


def _in_order(messages: Sequence[str], shown: str) -> list[Finding]:
    position = 0
    for number, message in enumerate(messages, start=1):
        wanted = clean(message).replace("\n", "\n    ")
        at = shown.find(wanted, position)
        if at < 0:
            return [Finding(LOST, HANDOFF, f"message {number} of {len(messages)} is missing or out of order")]
        if shown.find(wanted, at + 1) >= 0:
            return [Finding(DUPLICATE, HANDOFF, f"message {number} is there twice")]
        position = at + len(wanted)
    return []


def _judge_ledger(world: World, system: str, conversation_id: str, *, may_lack_transcript: bool) -> list[Finding]:
    rows = world.rows()
    records = [row for row in rows if row["RowKey"].startswith("h:")]
    if len(records) != 1:
        return [Finding(LOST if not records else DUPLICATE, HANDOFF, f"{len(records)} records in the ledger")]
    record = records[0]
    if record["State"] != "completed":
        kind = LOST if record["State"] == "failed" else STUCK
        return [Finding(kind, HANDOFF, f"{record['State']} ({record['ErrorCode']})")]
    found = []
    outcome: dict[str, Any] = json.loads(record["Outcome"])
    if conversation_id and outcome["record_id"] != conversation_id:
        found.append(Finding(WRONG, HANDOFF, "the ledger names a conversation that does not exist"))
    codes = {notice["code"] for notice in outcome["warnings"]}
    if codes - ({"transcript_unavailable"} if may_lack_transcript else set()):
        found.append(Finding(WRONG, HANDOFF, f"notices: {', '.join(sorted(codes))}"))
    open_ = [row for row in rows if row["RowKey"].startswith("o:")]
    if len(open_) != 1:
        return [*found, Finding(LOST, HANDOFF, f"{len(open_)} open conversations in the ledger")]
    row = open_[0]
    if row["system"] != system or (conversation_id and row["conversation_id"] != conversation_id):
        found.append(Finding(WRONG, HANDOFF, "the relay knows another conversation"))
    if row["claim"] or row["failures"] or row["to_rep"] or row["undelivered"]:
        found.append(Finding(STUCK, HANDOFF, f"the relay is at {row['failures']} failures ({row['error_code']})"))
    if any(row["RowKey"].startswith("p:") for row in rows):
        found.append(Finding(WRONG, HANDOFF, "completed, and its payload is still stored"))
    if world.queues.next_at() is None:
        found.append(Finding(LOST, HANDOFF, "no lane is going on"))
    return found
