"""A rep's message is pushed and listed: it is the same message, and told once."""

import html
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.dynamics_messaging.organisation import Organisation, chat
from tests.dynamics_messaging.talk import run, say

REPS_TEXTS = [
    "plain",
    "  with  spaces \t and an end \n",
    "**bold** _italic_ ~struck~ [our page](https://example.com/a_b_c)",
    "one\r\ntwo\u2028three\n\n* a\n* b",
    "a < b & c > d, \"quoted\" 'too'",
    "Tom &amp; Jerry &lt;3",
    "\u00a0nbsp\u00a0and\u200bzero, caf\u00e9, \U0001f600",
    "EventName: of the year",
]


@pytest.mark.parametrize("channel", ["web", "sms"])
@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("shape", ["empty", "full"])
def test_a_pushed_message_and_its_listed_copy_say_the_same(
    org: Organisation, channel: str, shape: str, *, ids: bool
) -> None:
    """Text and files alike, whatever the activity is named by: else a sweep would tell it a second time."""
    org.standin.switch(messages_from=shape, activity_ids=ids, message_id_in_channel_data=ids)
    org.standin.set_channel(attachments_from_reps=True)
    made = org.accepted(chat(channel=channel))
    say(org, made, *REPS_TEXTS)
    org.standin.rep.file(made.conversation_id, "issue (1).pdf", b"%PDF", media_type="application/pdf")
    org.settle()
    pushed = [entry for entry in org.ledger.inbox(made) if entry.kind == "message"]
    listed = org.first.side.entries(made, since=made.opened_at, deadline=org.deadline)
    assert [(entry.text, entry.files) for entry in listed] == [(entry.text, entry.files) for entry in pushed]
    run(org, made, steps=12)
    assert len(org.heard()) == len(REPS_TEXTS) + 1


@pytest.mark.parametrize("spelled", [html.escape, html.unescape, str.strip, lambda text: f" {text}\n"])
@pytest.mark.parametrize("channel", ["web", "sms"])
def test_a_listing_that_spells_otherwise_tells_nothing_twice(
    org: Organisation, channel: str, spelled: Callable[[str], str]
) -> None:
    """Whether webhook and GET messages spell alike is not documented: entities and white space do not count."""
    made = org.accepted(chat(channel=channel))
    texts = [*REPS_TEXTS, *REPS_TEXTS[4:6]]
    say(org, made, *texts)
    with org.standin._desk.changing(made.conversation_id) as stored:
        stored.entries = [
            replace(each, text=spelled(each.text)) if each.by == "rep" and each.kind == "message" else each
            for each in stored.entries
        ]
    run(org, made, steps=12)
    assert len(org.heard()) == len(texts)
