"""What a run has seen, before anybody judges it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.probe_messaging.api import Answer
from tools.probe_messaging.listener import Received

LOOKED_FOR = ("Open", "Active", "Waiting", "Wrap-up")
CODES = {"Open": 1, "Active": 2, "Waiting": 3, "Closed": 4, "Wrap-up": 5}
"""statuscode of msdyn_ocliveworkitem."""
LABELS = {code: label for label, code in CODES.items()}


@dataclass(frozen=True)
class Again:
    """A second create with the same ``customerid``.

    Attributes:
        state: of the work item just before, as Dataverse says it; empty: it does not.
        is_same: whether it found the conversation; None: it was refused.
        answer: as it came.
    """

    state: str
    is_same: bool | None
    answer: Answer


@dataclass(frozen=True)
class File:
    """A file that the rep has sent.

    Attributes:
        host: of its address.
        expires: what the address says of its end (``se`` of a shared access signature); empty: nothing.
        plain: HTTP status without a token; 0: no answer.
        with_token: the same with the token of the Messaging APIs; None: not tried, for it is another host.
        later: the status without a token at the end of the run.
        fetched_at, later_seconds: when it was fetched first, monotonic, and how much later again, in seconds.
    """

    host: str
    url: str = field(repr=False)
    expires: str = ""
    plain: int = 0
    with_token: int | None = None
    later: int | None = None
    fetched_at: float = 0.0
    later_seconds: float = 0.0


@dataclass
class Seen:
    """Everything, by the step that saw it; None and empty: the step did not get there.

    Attributes:
        row: the channel row, as Dataverse has it.
        unknown: GET messages of a conversation that there never was.
        conversation_id: the one in which most happens.
        created: its create.
        again: a second create in each state.
        pairs: of two creates at once, whether they met.
        requests_met: whether two creates with one ``conversationrequestid``, without ``customerid``, met.
        start_listed: whether GET messages lists the start message.
        context_seconds: until GET context showed the variables; None: never, or not looked.
        context_missing: the variables that it did not show.
        state_seconds: until Dataverse showed the work item.
        state_code: what hindered that, an error's code.
        found_by: the tables by which the conversation is found again.
        found_code: what hindered that.
        is_found_known: whether both tables were read.
        listing: GET messages when the customer, we and the rep had written.
        forms: how a file from the customer was taken, by the form of its address: HTTP status and number.
        own_words: what we and the customer have written.
        activities: what the webhook brought for the conversations of this run.
        phases: the steps at the desk that were done, each with the conversation in which it was.
        rep_file: as it says.
        attempts, attempt_bodies: the deliveries of one activity that was refused each time: arrivals, in seconds.
        after_end: GET messages and a send, after the end.
        left_at: the state after the customer's endOfConversation; empty: not seen.
        states: the state after a step at the desk.
        hours: the create when nobody works, and the state after it.
        availability: what the availability API answers: a status, or an error's code.
        skipped: step to why it was left out.
        has_listener: whether there is a webhook.
    """

    row: Mapping[str, Any] = field(default_factory=dict)
    unknown: Answer | None = None
    conversation_id: str = ""
    created: Answer | None = None
    again: dict[str, Again] = field(default_factory=dict)
    pairs: list[bool] = field(default_factory=list)
    requests_met: bool | None = None
    start_listed: bool | None = None
    context_seconds: float | None = None
    context_missing: tuple[str, ...] = ()
    state_seconds: float | None = None
    state_code: str = ""
    found_by: tuple[str, ...] = ()
    found_code: str = ""
    is_found_known: bool = False
    listing: list[dict[str, Any]] = field(default_factory=list)
    forms: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    own_words: list[str] = field(default_factory=list)
    activities: list[Received] = field(default_factory=list)
    phases: dict[str, str] = field(default_factory=dict)
    rep_file: File | None = None
    attempts: list[float] = field(default_factory=list)
    attempt_bodies: list[dict[str, Any]] = field(default_factory=list)
    after_end: dict[str, Answer] = field(default_factory=dict)
    left_at: str = ""
    states: dict[str, str] = field(default_factory=dict)
    hours: Answer | None = None
    availability: str = ""
    skipped: dict[str, str] = field(default_factory=dict)
    has_listener: bool = False

    def of_phase(self, phase: str) -> list[Received]:
        """What the webhook brought of it, in its conversation."""
        conversation_id = self.phases.get(phase)
        return [
            each
            for each in self.activities
            if each.phase == phase and each.status == 200 and each.conversation_id == conversation_id
        ]
