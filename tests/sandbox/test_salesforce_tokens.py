"""Salesforce's stand-in: who gets which access token, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from sandbox.salesforce import Salesforce
from tests.sandbox.miaw import API, ISSUER, KID, ORG_ID, Org, public_pem, serve

CONTINUATION = f"{API}/authorization/continuation-access-token"


@pytest.fixture
def org(clock: Any) -> Iterator[Org]:
    """An org with its defaults."""
    with serve(clock) as org:
        yield org


def claims(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def subject(answer: Any) -> str:
    """Who a token's answer says that the user is."""
    assert answer.status_code == 200, answer.text
    return str(answer.json()["context"]["endUser"]["subject"])


def test_a_guest_gets_a_jwt_with_the_short_org_id(org: Org) -> None:
    """The token is RS256 and names the org by 15 characters, a guest, a client and its end after six hours."""
    answer = org.ask_token().json()
    said = claims(answer["accessToken"])
    assert jwt.get_unverified_header(answer["accessToken"])["alg"] == "RS256"
    assert said["orgId"] == ORG_ID
    assert said["exp"] == int(org.clock()) + 360 * 60
    assert said["sub"] == answer["context"]["endUser"]["subject"]
    assert said["sub"].startswith("v2/iamessage/UNAUTH/NA/uid:")
    assert said["clientId"]
    assert isinstance(answer["lastEventId"], str)


def test_two_guests_are_two_people(org: Org) -> None:
    """Every guest's token is for somebody new."""
    assert claims(org.guest())["sub"] != claims(org.guest())["sub"]


@pytest.mark.parametrize("algorithm", ["RS256", "RS512"])
def test_a_verified_user_is_the_same_every_time(org: Org, algorithm: str) -> None:
    """A good identity token gives the keyset's name and the stable sub, for an hour."""
    answer = org.ask_token(org.identity(algorithm=algorithm))
    assert subject(answer) == "v2/iamessage/AUTH/OpenCX_Keyset/uid:customer-1"
    assert claims(answer.json()["accessToken"])["exp"] == int(org.clock()) + 3600


@pytest.mark.parametrize(
    "flaw",
    [
        {"kid": "key-2"},
        {"key": "another"},
        {"iss": f"{ISSUER}/"},
        {"iss": None},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"sub": None},
    ],
    ids=lambda flaw: ",".join(f"{name}={value}" for name, value in flaw.items()),
)
def test_a_bad_identity_silently_makes_a_guest(org: Org, flaw: dict[str, Any]) -> None:
    """Unknown kid, foreign signature, wrong issuer, expired: 200 all the same, and nobody knows the user."""
    assert "/UNAUTH/" in subject(org.ask_token(org.identity(**flaw)))
    assert "guest" in org.server.journal.entries()[-1].note


def test_what_is_no_jwt_makes_a_guest(org: Org) -> None:
    """Even a string that is not a token is answered with 200."""
    assert "/UNAUTH/" in subject(org.ask_token("not-a-token"))


def test_the_audience_is_checked_only_when_it_is_configured(org: Org) -> None:
    """Sources contradict each other on `aud`, so that it is a switch."""
    assert "/AUTH/" in subject(org.ask_token(org.identity(aud="anything")))
    org.standin.switches.identity_audience = "https://acme.my.salesforce.com"
    assert "/UNAUTH/" in subject(org.ask_token(org.identity(aud="anything")))
    assert "/AUTH/" in subject(org.ask_token(org.identity(aud="https://acme.my.salesforce.com")))


def test_a_key_can_be_replaced(org: Org) -> None:
    """A deleted key makes guests, an uploaded one verified users; a reset brings the first ones back."""
    assert org.door("POST", "keys", json={"kid": KID, "key": None}).status_code == 204
    assert "/UNAUTH/" in subject(org.ask_token(org.identity()))
    assert org.door("POST", "keys", json={"kid": "key-2", "key": public_pem("another")}).status_code == 204
    assert "/AUTH/" in subject(org.ask_token(org.identity(kid="key-2", key="another")))
    assert org.door("POST", "keys", json={"kid": "key-3", "key": "no key"}).status_code == 400
    org.door("POST", "reset")
    assert "/AUTH/" in subject(org.ask_token(org.identity()))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"esDeveloperName": "Web_Chat"}, "Set the esDeveloperName to a deploymentType that's set to api"),
        ({"deviceId": "d"}, "deviceId"),
        ({"orgId": "00Dyy0000000yyy"}, "orgId"),
        ({"platform": "Desktop"}, "platform"),
        ({"platform": None}, "platform"),
        ({"capabilitiesVersion": None}, "capabilitiesVersion"),
        ({"language": "en_US"}, "language"),
        ({"context": {"deviceId": "d"}}, "deviceId"),
    ],
)
def test_a_request_for_a_token_is_strict(org: Org, change: dict[str, Any], says: str) -> None:
    """A wrong deployment or org, a device id with Web, a missing or unknown property: 400, and it is named."""
    for answer in (org.ask_token(**change), org.ask_token(org.identity(), **change)):
        assert answer.status_code == 400
        assert says in answer.json()["message"]


def test_what_may_be_left_out_or_longer(org: Org) -> None:
    """The context is optional, 18 characters of org id are taken, and a mobile client has a device id."""
    assert org.ask_token(context=None).status_code == 200
    assert org.ask_token(orgId=f"{ORG_ID}AAA").status_code == 200
    assert org.ask_token(platform="Mobile", deviceId="d-1").json()["context"]["deviceId"] == "d-1"


def test_only_jwt_is_an_authorization_type(org: Org) -> None:
    """Another type, or none, is 400."""
    assert org.ask_token(org.identity(), authorizationType="Basic").status_code == 400
    assert org.ask_token(org.identity(), authorizationType=None).status_code == 400


def test_a_token_expires(org: Org) -> None:
    """At its `exp` a token is 401, and not a second before."""
    token = org.verified()
    org.clock.now += 3599
    assert org.create(token).status_code == 201
    org.clock.now += 1
    refused = org.create(token)
    assert (refused.status_code, refused.json()["message"]) == (401, "Jwt is expired")


def test_lifetimes_are_the_administrators(org: Org) -> None:
    """Both lifetimes can be set."""
    org.standin.switches.guest_token_seconds = 60
    org.standin.switches.verified_token_seconds = 120
    assert claims(org.guest())["exp"] == int(org.clock()) + 60
    assert claims(org.verified())["exp"] == int(org.clock()) + 120


def test_a_continuation_does_not_live_longer(org: Org) -> None:
    """The same subject and end, another client id."""
    token = org.guest()
    org.clock.now += 1000
    answer = org.call("GET", CONTINUATION, token)
    before, after = claims(token), claims(answer.json()["accessToken"])
    assert (after["sub"], after["exp"]) == (before["sub"], before["exp"])
    assert after["clientId"] != before["clientId"]


def test_a_revoked_token_is_dead(org: Org) -> None:
    """After the DELETE it is 401; another token of the same user is not."""
    token, other = org.verified(), org.verified()
    assert org.call("DELETE", f"{API}/authorization/authenticated/access-token", token).status_code == 204
    assert org.create(token).status_code == 401
    assert org.create(other).status_code == 201


def test_all_tokens_can_be_made_to_expire(org: Org) -> None:
    """The control door ends every token; new ones are good."""
    token = org.verified()
    assert org.door("POST", "expire-tokens").json() == {"expired": 1}
    assert org.create(token).status_code == 401
    assert org.create(org.verified()).status_code == 201


@pytest.mark.parametrize("token", [None, "x", "a.b.c"])
def test_without_a_token_nothing_works(org: Org, token: str | None) -> None:
    """No token, or one of somebody else's making, is 401."""
    assert org.create(str(token) if token else "").status_code == 401
    assert org.call("GET", f"{API}/conversation/list", token).status_code == 401
    assert org.call("GET", f"{API}/conversation/list", org.identity()).status_code == 401


def test_a_token_is_good_in_its_own_org_only(org: Org, clock: Any) -> None:
    """Another org refuses it."""
    token = org.guest()
    other = Salesforce(org_id="00Dyy0000000yyy", developer_name="X", issuer=ISSUER, keys={}, clock=clock)
    assert org.call("GET", f"{API}/conversation/list", token).status_code == 200
    org.server.standin = other
    assert org.call("GET", f"{API}/conversation/list", token).status_code == 401


def test_a_reset_leaves_tokens_good(org: Org) -> None:
    """Only time and a revocation end a token."""
    token = org.guest()
    org.door("POST", "reset")
    assert org.create(token).status_code == 201


def test_two_hundred_tokens_a_minute(org: Org) -> None:
    """The 201st request is 429, whoever asks; renewals are counted apart; a minute later all is well."""
    token = org.guest()
    statuses = {org.ask_token().status_code for _ in range(199)}
    assert statuses == {200}
    assert org.ask_token().status_code == 429
    assert org.ask_token(org.identity()).status_code == 429
    assert org.call("GET", CONTINUATION, token).status_code == 200
    org.clock.now += 60
    assert org.ask_token().status_code == 200


def test_renewals_have_a_limit_too(org: Org) -> None:
    """The limit of renewals is the same number, and `Retry-After` is sent when the switch says so."""
    org.standin.switches.token_requests_per_minute = 2
    org.standin.switches.retry_after_seconds = 7
    token = org.guest()
    answers = [org.call("GET", CONTINUATION, token) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "7"


def test_an_org_is_made_of_good_parts() -> None:
    """An org id of 18 characters, a key that is not RSA and an unknown switch are refused at once."""
    good: dict[str, Any] = {"org_id": ORG_ID, "developer_name": "X", "issuer": ISSUER, "keys": {}}
    with pytest.raises(ValueError, match="15"):
        Salesforce(**{**good, "org_id": f"{ORG_ID}AAA"})
    with pytest.raises(ValueError, match="PEM"):
        Salesforce(**{**good, "keys": {KID: "no key"}})
    with pytest.raises(TypeError, match="colour"):
        Salesforce(**good, colour="blue")
