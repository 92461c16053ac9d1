"""Who may call Dynamics' webhook, and what becomes of what it brings."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.dynamics_messaging.webhook_faults import WebhookFault
from sandbox.dynamics_messaging.webhook_token import FLAWS
from sandbox.faults import Fault
from shared.dynamics_messaging import webhook
from shared.errors import ConfigurationFault, HandoffError, InvalidRequest, NotFound, TransientFailure, Unauthorized
from shared.relay.model import JOINED, LEFT, MESSAGE, OVER, UNANSWERED, Conversation, RepEntry
from tests.dynamics_messaging.organisation import CLIENT, LOCK, TENANT, Organisation, activity

NOW = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
ID = "0a9b1c2d-0000-4000-8000-0000000000c1"


def conversation(channel: str = "whatsapp") -> Conversation:
    """An open one."""
    return Conversation("h-1", "s-1", "dynamics365", ID, channel, NOW)


def parsed(channel: str = "whatsapp", **fields: Any) -> list[RepEntry]:
    """What an activity means."""
    data = webhook.read(activity(ID, **fields), conversation_id=ID)
    return webhook.parse(data, conversation(channel), arrived_at=NOW)


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says."""
    seconds = NOW.timestamp()
    known = {
        "aud": f"api://{CLIENT}",
        "iss": f"https://sts.windows.net/{TENANT}/",
        "tid": TENANT,
        "appid": CLIENT,
        "nbf": seconds,
        "exp": seconds + 3600,
    }
    return {name: value for name, value in (known | changes).items() if value is not None}


@pytest.mark.parametrize("shape", ["v1", "v2"])
def test_the_token_of_the_registered_app_opens_in_both_shapes(org: Organisation, shape: str) -> None:
    """Which version Dynamics sends is not documented."""
    org.standin.switch(webhook_token=shape)
    made = org.open()
    org.standin.rep.accept(made.conversation_id)
    org.settle()
    assert [each["status"] for each in org.standin.deliveries()] == [200]
    assert org.refused == []


@pytest.mark.parametrize("shape", ["v1", "v2"])
@pytest.mark.parametrize("flaw", FLAWS)
def test_every_wrong_token_is_refused(org: Organisation, flaw: str, shape: str) -> None:
    """Missing, expired, another app's, tenant's, audience's or issuer's, wrongly signed, unsigned: 401, not stored."""
    org.standin.switch(webhook_token=shape)
    made = org.open()
    org.standin.webhook_faults.add(WebhookFault(fault=flaw))
    org.standin.rep.accept(made.conversation_id)
    org.settle()
    (delivery,) = org.standin.deliveries()
    assert [attempt["status"] for attempt in delivery["attempts"]] == [401, 401, 401]
    assert set(org.refused) == {"webhook_unauthorized"}
    assert org.ledger.inbox(made) == []


@pytest.mark.parametrize(
    "change",
    [
        {"scp": "user_impersonation"},
        {"exp": None},
        {"exp": "never"},
        {"exp": NOW.timestamp() - 301},
        {"nbf": NOW.timestamp() + 301},
        {"tid": None},
        {"tid": "0badc0de-0000-4000-8000-000000000001"},
        {"appid": None},
        {"aud": ["https://graph.microsoft.com"]},
        {"iss": f"https://sts.windows.net/{TENANT}"},
    ],
)
def test_each_claim_counts(org: Organisation, change: dict[str, Any]) -> None:
    """One wrong claim in a token that is signed well is enough."""
    good, bad = org.tokens.sign(claims()), org.tokens.sign(claims(**change))
    verifier = org.verifier()
    verifier.verify(lock=LOCK, authorization=f"Bearer {good}")
    with pytest.raises(Unauthorized):
        verifier.verify(lock=LOCK, authorization=f"Bearer {bad}")


@pytest.mark.parametrize(
    "change", [{"exp": NOW.timestamp() - 299}, {"nbf": NOW.timestamp() + 299}, {"aud": [CLIENT.upper()]}]
)
def test_clocks_may_differ_by_five_minutes(org: Organisation, change: dict[str, Any]) -> None:
    """Leeway both ways; and an audience may be one of a list, in either case."""
    org.verifier().verify(lock=LOCK, authorization=f"Bearer {org.tokens.sign(claims(**change))}")


def test_the_lock_comes_before_everything(org: Organisation) -> None:
    """A wrong lock is 404 whatever the token, and costs no look at Entra."""
    good = f"Bearer {org.tokens.sign(claims())}"
    verifier = org.verifier()
    for lock in ("", "x", LOCK + "x", LOCK[:-1], "ü" * 20, "\ud800" * 20):
        with pytest.raises(NotFound):
            verifier.verify(lock=lock, authorization=good)
    assert org.entra.journal.entries() == []


def test_a_rotated_lock_is_known_at_once(org: Organisation) -> None:
    """The new one is asked of the vault when it comes; the old one is no good any more, and a guess costs nothing."""
    known, asked = ["the-old-lock-of-many-letters"], []

    def lock(*, is_refused: bool = False) -> str:
        asked.append(is_refused)
        return LOCK if is_refused else known[0]

    verifier = org.verifier()
    verifier._lock = lock
    good = f"Bearer {org.tokens.sign(claims())}"
    verifier.verify(lock=LOCK, authorization=good)
    assert asked == [False, True]
    for wrong in (LOCK + "x", "a", "ü" * 20):
        with pytest.raises(NotFound):
            verifier.verify(lock=wrong, authorization=good)
    assert asked[2:] == [False, True, False, False]


def test_without_a_lock_there_is_no_webhook(org: Organisation) -> None:
    """Not set: 404, and not a hint."""
    with pytest.raises(NotFound):
        org.verifier(DYNAMICS_WEBHOOK_LOCK="").verify(lock="", authorization=None)


@pytest.mark.parametrize("weak", ["short", "has a blank in its middle", "has/a/slash/in/its/path"])
def test_a_weak_lock_is_an_administrators_matter(org: Organisation, weak: str) -> None:
    """Too short, or not the same in a path."""
    with pytest.raises(ConfigurationFault, match="webhook_lock_weak"):
        org.verifier(DYNAMICS_WEBHOOK_LOCK=weak).verify(lock=weak, authorization=None)


def test_a_channel_row_without_identity_is_let_in_only_where_a_setting_says_so(org: Organisation) -> None:
    """Without a token the lock alone opens, if DYNAMICS_WEBHOOK_AUTH is lock; a wrong token never does."""
    with pytest.raises(Unauthorized):
        org.verifier().verify(lock=LOCK, authorization=None)
    open_to_lock = org.verifier(DYNAMICS_WEBHOOK_AUTH="lock")
    open_to_lock.verify(lock=LOCK, authorization=None)
    with pytest.raises(Unauthorized):
        open_to_lock.verify(lock=LOCK, authorization="Bearer nonsense")


def test_app_and_audience_can_be_set(org: Organisation) -> None:
    """The truth is not documented: both are settings."""
    other = "0badc0de-0000-4000-8000-000000000009"
    token = f"Bearer {org.tokens.sign(claims(appid=other, aud='https://relay.example'))}"
    with pytest.raises(Unauthorized):
        org.verifier().verify(lock=LOCK, authorization=token)
    verifier = org.verifier(DYNAMICS_WEBHOOK_APP=other, DYNAMICS_WEBHOOK_AUDIENCE="https://relay.example, other")
    verifier.verify(lock=LOCK, authorization=token)


def test_a_tenant_that_is_named_by_a_domain_is_looked_up(org: Organisation) -> None:
    """The token holds the GUID."""
    org.entra.faults.add(
        Fault(
            path="openid-configuration",
            status=200,
            body={"issuer": f"https://login.microsoftonline.com/{TENANT}/v2.0"},
            times=0,
        ),
        Fault(path="discovery/v2.0/keys", status=200, body=org.tokens.jwks(), times=0),
    )
    verifier = org.verifier(DYNAMICS_TENANT_ID="contoso.com")
    verifier.verify(lock=LOCK, authorization=f"Bearer {org.tokens.sign(claims())}")
    with pytest.raises(Unauthorized):
        verifier.verify(lock=LOCK, authorization=f"Bearer {org.tokens.sign(claims(tid='contoso.com'))}")


def test_keys_are_fetched_once_and_for_an_unknown_one_once_a_minute(org: Organisation) -> None:
    """Whoever invents key ids cannot make us call Entra; a new key of Entra's is found within a minute."""
    verifier = org.verifier()
    good = f"Bearer {org.tokens.sign(claims())}"
    stranger = generate_private_key(public_exponent=65537, key_size=2048)
    for number in range(20):
        verifier.verify(lock=LOCK, authorization=good)
        forged = jwt.encode(claims(), stranger, algorithm="RS256", headers={"kid": f"k{number}"})
        with pytest.raises(Unauthorized):
            verifier.verify(lock=LOCK, authorization=f"Bearer {forged}")
    assert len(org.entra.journal.entries()) == 1
    org.clock.advance(61)
    with pytest.raises(Unauthorized):
        verifier.verify(lock=LOCK, authorization=f"Bearer {forged}")
    assert len(org.entra.journal.entries()) == 2


def test_an_outage_of_entra_asks_dynamics_to_come_again(org: Organisation) -> None:
    """Not 401: the activity would be lost. Once keys are known an outage does not matter."""
    org.entra.faults.add(Fault(status=503))
    verifier, good = org.verifier(), f"Bearer {org.tokens.sign(claims())}"
    with pytest.raises(TransientFailure):
        verifier.verify(lock=LOCK, authorization=good)
    org.clock.advance(61)
    verifier.verify(lock=LOCK, authorization=good)
    org.entra.faults.add(Fault(status=503, times=0))
    org.clock.advance(25 * 3600)
    fresh = org.tokens.sign(claims(exp=org.clock.now().timestamp() + 60))
    verifier.verify(lock=LOCK, authorization=f"Bearer {fresh}")


_WORDS = st.text(max_size=60)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)
_ALGORITHM = st.sampled_from(["RS256", "none", "HS256", "", "rs256"])
_SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "type": _JSON | st.sampled_from(["message", "event", "typing"]),
        "conversation": _JSON | st.just({"id": ID}),
        **dict.fromkeys(("name", "text", "from", "attachments", "channelData", "timestamp", "id"), _JSON),
    },
)


def _segment(data: Any) -> str:
    return jwt.utils.base64url_encode(json.dumps(data, allow_nan=True).encode()).decode()


@st.composite
def _tokens(draw: Callable[[Any], Any]) -> str:
    """Something between garbage and a token, by no means signed by Entra."""
    if draw(st.booleans()):
        return str(draw(_WORDS))
    header = draw(st.one_of(_JSON, st.fixed_dictionaries({"alg": _ALGORITHM, "kid": _JSON | st.just("k")})))
    parts = [_segment(header), _segment(draw(_JSON)), draw(st.sampled_from(["", "AAAA", "!"]))]
    return ".".join(parts[: draw(st.integers(1, 3))])


@pytest.fixture(scope="module")
def quiet() -> Any:
    """An organisation for all examples, and a token that is good."""
    org = Organisation().start()
    yield org
    org.stop()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lock=st.sampled_from([LOCK]) | _WORDS, scheme=st.sampled_from(["Bearer ", "bearer ", "", "Basic "]), token=_tokens()
)
def test_no_request_without_entras_signature_gets_in(quiet: Organisation, lock: str, scheme: str, token: str) -> None:
    """Whatever is sent ends in 404 or 401, and in no other error."""
    verifier = quiet.verifier()
    with pytest.raises((Unauthorized, NotFound)):
        verifier.verify(lock=lock, authorization=scheme + token)


@settings(max_examples=300, deadline=None)
@given(
    body=st.binary(max_size=200)
    | _JSON.map(lambda data: json.dumps(data).encode())
    | _SHAPED.map(lambda data: json.dumps(data).encode())
)
def test_whatever_the_body_it_is_an_activity_or_malformed(body: bytes) -> None:
    """A good token does not make a good body: 400, or entries whose parts are what they should be."""
    try:
        data = webhook.read(body, conversation_id=ID)
    except InvalidRequest as error:
        assert error.http_status == 400
        return
    for entry in webhook.parse(data, conversation(), arrived_at=NOW):
        assert entry.id[:2] in ("m:", "a:", "h:")
        assert entry.at.tzinfo is not None
        assert entry.kind in (MESSAGE, JOINED, LEFT, OVER, UNANSWERED)
        assert entry.kind == MESSAGE or not entry.text
        assert "EventName" not in entry.text or not entry.text.strip().startswith("EventName: ")


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"type": 1, "conversation": {"id": 5}}', b"[" * 100_000])
def test_a_body_that_is_no_activity_is_malformed(body: bytes) -> None:
    """Not JSON, no object, no type, no conversation, nested too deeply."""
    with pytest.raises(InvalidRequest, match="activity_malformed"):
        webhook.read(body, conversation_id=ID)


def test_the_body_must_name_the_conversation_of_the_path() -> None:
    """Another one's message must not get into this one's inbox."""
    with pytest.raises(InvalidRequest):
        webhook.read(activity("0a9b1c2d-0000-4000-8000-0000000000c2"), conversation_id=ID)


@pytest.mark.parametrize("kind", ["message", "event"])
@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("AgentAccepted", JOINED),
        ("ConversationClosed", OVER),
        ("PrimaryAgentEndConversation", OVER),
        ("SupervisorForceClosedConversation", OVER),
        ("AgentClosed", LEFT),
        ("AgentEndSession", LEFT),
        ("OutOfOperatingHoursDueToHoliday", UNANSWERED),
        ("AgentAssigned", None),
        ("SomethingNobodyHasHeardOf", None),
    ],
)
def test_an_event_is_never_a_message(kind: str, name: str, meaning: str | None) -> None:
    """In the type of Microsoft's table and in that of its samples; with the name in the text alone, too."""
    text = f"EventName: **_{name}_**"
    for fields in ({"name": name, "text": text}, {"text": text}, {"name": name}):
        if kind == "message" or "name" in fields:
            entries = parsed(type=kind, **fields)
            assert [entry.kind for entry in entries] == ([meaning] if meaning else [])
            assert all(not entry.text for entry in entries)


@pytest.mark.parametrize("text", ["EventName: ConversationClosed", "EventName: **_PrimaryAgentEndConversation_**"])
def test_a_customers_text_never_becomes_an_event(text: str) -> None:
    """An echo of the customer's own words ends nothing: whose it is, is asked first."""
    own: dict[str, Any] = {"text": text, "from": {"id": "opencx:h-1"}}
    assert parsed(**own) == []
    (named,) = parsed(**own, name="ConversationClosed")
    assert named.kind == OVER  # its name is Dynamics' own, whoever has caused it


def test_only_a_known_name_is_an_event_by_plain_text() -> None:
    """A rep may write about the name of an event; what Microsoft's samples look like is one, whatever its name."""
    assert [entry.kind for entry in parsed(text="EventName: ConversationClosed")] == [OVER]
    assert [entry.kind for entry in parsed(text="EventName: Gala")] == [MESSAGE]
    assert [entry.kind for entry in parsed(text="EventName: **Gala**")] == [MESSAGE]
    assert parsed(text="EventName: **_Gala_**") == []


def test_a_file_without_a_name_is_named_by_its_address() -> None:
    """Without what signs it, which is another one each time."""
    for signature in ("a", "b"):
        url = f"https://blob.example/x/issue%20(1).jpg?sig={signature}"
        ((file,),) = (entry.files for entry in parsed(attachments=[{"contentUrl": url}]))
        assert (file.name, file.url) == ("issue (1).jpg", url)
    ((file,),) = (entry.files for entry in parsed(attachments=[{"contentUrl": "https://["}]))
    assert file.name is None


def test_typing_means_nothing() -> None:
    """Nor does a message without words and files, or a type of another kind."""
    assert parsed(type="typing", channelId="MessagingApi") == []
    assert parsed(text="  ") == []
    assert parsed(type="conversationUpdate", text="x") == []


def test_a_reps_words_are_flattened_where_nothing_shows_markdown() -> None:
    """SMS and WhatsApp get plain text, the web gets what the rep wrote."""
    text = "**Hello** _Jo_, see [our page](https://example.com/a_b_c)"
    (sms,), (web,) = parsed("sms", text=text), parsed("web", text=text)
    assert sms.text == "Hello Jo, see our page (https://example.com/a_b_c)"
    assert web.text == text


def test_a_file_comes_with_its_name_and_address() -> None:
    """As Microsoft's sample has it, without a text."""
    attachment = {"contentType": "image/jpeg", "contentUrl": "https://blob/x", "content": None, "name": "issue (1).jpg"}
    sent = activity(ID, attachments=[attachment], **{"from": {"id": "r", "name": "Riley"}})
    (entry,) = webhook.parse(webhook.read(sent, conversation_id=ID), conversation(), arrived_at=NOW)
    (file,) = entry.files
    assert (file.name, file.url, file.content_type) == ("issue (1).jpg", "https://blob/x", "image/jpeg")
    assert (entry.text, entry.author) == ("", "Riley")


def test_an_activity_is_named_by_an_id_of_dynamics_or_by_what_it_says() -> None:
    """The 13-digit message id first, else the activity's own, else a digest of what it says, and nothing else."""
    (by_message,) = parsed(text="a", id="x", channelData={"messageId": "1768464000123"})
    (by_id,) = parsed(text="a", id="x", timestamp="2027-01-15T07:59:00Z")
    (first,), (second,) = parsed(text="a", timestamp="2027-01-15T07:59:00Z"), parsed(text="a", channelId="other")
    (other,) = parsed(text="b")
    assert by_message.id == "m:1768464000123"
    assert by_message.at == datetime.fromtimestamp(1768464000.123, UTC)
    assert (by_id.id, by_id.at) == ("a:x", datetime(2027, 1, 15, 7, 59, tzinfo=UTC))
    assert first.id == second.id != other.id
    assert second.at == NOW


def test_what_we_wrote_ourselves_is_not_the_reps(org: Organisation) -> None:
    """An echo of the start message, or of the customer's words, is dropped."""
    org.standin.switch(start_message_echoed=True)
    made = org.open()
    text = org.standin.conversation(made.conversation_id)["start_message"]["message"]
    data = webhook.read(
        activity(made.conversation_id, text=text, **{"from": {"id": "anyone"}}), conversation_id=made.conversation_id
    )
    assert webhook.parse(data, made, arrived_at=NOW) == []
    echo = activity(made.conversation_id, text="my words", **{"from": {"id": "opencx:session-1"}})
    data = webhook.read(echo, conversation_id=made.conversation_id)
    assert webhook.parse(data, made, arrived_at=NOW) == []


def test_automated_messages_are_known_by_their_mark_or_their_sender() -> None:
    """How Dynamics tells them apart is not documented: the mark that we know, and a setting."""
    marked = {"messagingapi-oc": {"type": "AutomatedMessage"}}
    assert parsed(text="Hi", channelData=marked)[0].is_automated
    data = webhook.read(activity(ID, text="Hi", **{"from": {"id": "B07", "name": "Bot"}}), conversation_id=ID)
    for names, expected in ((frozenset({"b07"}), True), (frozenset({"bot"}), True), (frozenset({"x"}), False)):
        (entry,) = webhook.parse(data, conversation(), arrived_at=NOW, automated_senders=names)
        assert entry.is_automated is expected


def test_a_refusal_never_says_why_to_the_caller(org: Organisation) -> None:
    """One sentence for every wrong token."""
    sentences = set()
    for token in ("x", org.tokens.sign(claims(appid="other")), org.tokens.sign(claims(exp=1))):
        with pytest.raises(HandoffError) as raised:
            org.verifier().verify(lock=LOCK, authorization=f"Bearer {token}")
        sentences.add(raised.value.message)
    assert len(sentences) == 1
