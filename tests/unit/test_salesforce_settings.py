"""The settings of the Salesforce side: what stops its handoffs, what is only warned of."""

import re
import uuid

import pytest

from shared.config.settings import Settings
from shared.errors import ConfigurationFault
from shared.handoff.model import Contact, Handoff
from shared.salesforce.attributes import attributes, lasting
from shared.salesforce.files import form, safe_name
from shared.salesforce.ids import derived
from shared.salesforce.settings import Access, access

WHOLE = {
    "SALESFORCE_SCRT_URL": "https://acme.my.salesforce-scrt.com",
    "SALESFORCE_ORG_ID": "00D5g000004Z1xYEAS",
    "SALESFORCE_ES_DEVELOPER_NAME": "OpenCX_Custom_Client",
}


def read(**changes: str) -> Access:
    """The access of these settings."""
    return access(Settings({**WHOLE, **changes}))


def test_the_org_id_is_cut_to_15_characters() -> None:
    """Company Information shows 15, the API 18; the messaging service takes 15."""
    assert read().org_id == read(SALESFORCE_ORG_ID="00D5g000004Z1xY").org_id == "00D5g000004Z1xY"


def test_identity_tokens_are_for_the_orgs_own_address() -> None:
    """The same My Domain name, with the other ending; also of a sandbox."""
    assert read().audience == "https://acme.my.salesforce.com"
    sandbox = read(SALESFORCE_SCRT_URL="https://acme--uat.sandbox.my.salesforce-scrt.com/")
    assert sandbox.audience == "https://acme--uat.sandbox.my.salesforce.com"
    assert sandbox.notices == ()


def test_the_orgs_own_address_is_understood() -> None:
    """OpenCX's form calls it the instance's address: the service beside it is meant."""
    found = read(SALESFORCE_SCRT_URL="https://acme.my.salesforce.com")
    assert found.origin == WHOLE["SALESFORCE_SCRT_URL"]
    assert [notice.code for notice in found.notices] == ["setting_tolerated"]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("SALESFORCE_SCRT_URL", "", "setting_missing"),
        ("SALESFORCE_SCRT_URL", "http://acme.my.salesforce-scrt.com", "setting_malformed"),
        ("SALESFORCE_ORG_ID", "", "setting_missing"),
        ("SALESFORCE_ORG_ID", "00D5g", "setting_malformed"),
        ("SALESFORCE_ES_DEVELOPER_NAME", "", "setting_missing"),
        ("SALESFORCE_ES_DEVELOPER_NAME", "My Deployment", "setting_malformed"),
        ("SALESFORCE_SUBJECT", "phone", "setting_malformed"),
    ],
)
def test_what_is_needed_is_named(name: str, value: str, code: str) -> None:
    """With the fix in words, and only Salesforce's handoffs wait."""
    with pytest.raises(ConfigurationFault) as caught:
        read(**{name: value})
    assert (caught.value.code, caught.value.system) == (code, "salesforce")
    assert name in caught.value.message
    assert caught.value.fix


def test_routing_attributes_are_merged_over_the_defaults() -> None:
    """A name is changed, one is taken away, one is added; what is unknown is warned of."""
    given = '{"sessionId": "Session", "phone": null, "_email": null, "summary": "Summary", "nope": "x", "channel": 7}'
    found = read(SALESFORCE_ROUTING_ATTRIBUTES=given)
    assert found.attributes["sessionId"] == "Session"
    assert found.attributes["summary"] == "Summary"
    assert found.attributes["channel"] == "Channel"
    assert found.attributes.keys().isdisjoint({"phone", "email", "nope"})
    assert [notice.code for notice in found.notices] == ["setting_malformed"] * 2
    assert "nope" in found.notices[0].message


@pytest.mark.parametrize("value", ["{", "[]", "1"])
def test_a_malformed_map_costs_no_handoff(value: str) -> None:
    """The defaults are used, and a notice says so."""
    found = read(SALESFORCE_ROUTING_ATTRIBUTES=value)
    assert found.attributes["sessionId"] == "OpencxSessionId"
    assert [notice.code for notice in found.notices] == ["setting_malformed"]


def test_the_language_is_spelled_as_salesforce_does() -> None:
    """Otherwise the default is used, and a notice says so."""
    assert read().language == "en_US"
    assert read(SALESFORCE_LANGUAGE="de-AT").language == "de_AT"
    wrong = read(SALESFORCE_LANGUAGE="German")
    assert wrong.language == "en_US"
    assert len(wrong.notices) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", {"cancel", "end", "quit", "stop", "stopall", "unsubscribe", "help"}),
        ("None", set()),
        (" STOP, Ende ,,", {"stop", "ende"}),
    ],
)
def test_guarded_words_can_be_others_or_none(value: str, expected: set[str]) -> None:
    """Without the setting they are those of Salesforce's template for channels."""
    assert read(SALESFORCE_GUARDED_WORDS=value).guarded_words == expected


def test_nothing_of_the_customers_text_is_kept() -> None:
    """What a later session begins with are ids, a number and a few words of ours."""
    handoff = Handoff(
        "h", "s", "sms", contact=Contact("Jane Doe", "j@x.example", "+1555"), summary="secret", reason="r"
    )
    all_of_them = read(SALESFORCE_ROUTING_ATTRIBUTES='{"summary": "Summary", "reason": "Why", "handoffId": "Handoff"}')
    known = attributes(handoff, all_of_them, channel="sms", is_verified=True)
    assert known["Summary"] == "secret"
    assert lasting(known, all_of_them) == {
        "OpencxSessionId": "s",
        "Handoff": "h",
        "Phone": "+1555",
        "Channel": "sms",
        "Priority": "2",
        "Chat_Consumer_Type": "Unauthenticated",
    }


def test_the_default_priority_is_sent() -> None:
    """As for Dynamics 365."""
    handoff = Handoff("h", "s", "sms")
    assert attributes(handoff, read(DEFAULT_PRIORITY="3"), channel="sms", is_verified=True)["Priority"] == "3"


def test_ids_are_lower_case_v4() -> None:
    """Salesforce takes no others; and the same names give the same id."""
    for number in range(100):
        made = derived("a", str(number))
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made)
        assert uuid.UUID(made).version == 4
    assert derived("a", "b") == derived("a", "b") != derived("ab")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.jpg", "photo.jpg"),
        ('a"\r\nX-Evil: 1".txt', "a_ X-Evil_ 1_.txt"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("x" * 200 + ".pdf", "x" * 96 + ".pdf"),
        ("  ", "file"),
    ],
)
def test_a_files_name_can_be_no_header_and_no_path(name: str, expected: str) -> None:
    """It comes from the customer."""
    assert safe_name(name) == expected
    body, media_type = form({"a": "é"}, name=name, content=b"\x00\r\n")
    assert media_type.startswith("multipart/form-data; boundary=")
    assert body.count(b"Content-Disposition") == 2
    assert b"\r\nX-Evil" not in body
