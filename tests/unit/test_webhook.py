"""Webhook signatures: what the official signer of Standard Webhooks makes holds, and nothing else."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Signer

from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.errors import ConfigurationFault, Unauthorized
from shared.opencx.webhook import Delivery, Scheme, Webhook, scheme, webhook
from tests.clock import ManualClock

OLD = "whsec_" + base64.b64encode(b"the old secret of twenty-four bytes").decode()
NEW = "whsec_" + base64.b64encode(b"the new secret of twenty-four bytes").decode()
BODY = '{"event": "conversation.closed", "data": "Grüße"}'.encode()

type Verify = Callable[..., Delivery]


def signed(
    body: bytes = BODY, *, at: datetime | None = None, secret: str = OLD, id_: str = "msg_2Kx"
) -> dict[str, str]:
    """The headers that the official package makes."""
    at = at or ManualClock().now()
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Signer(secret).sign(id_, at, body.decode()),
    }


def verifier(clock: ManualClock | None = None, /, **environ: str) -> Webhook:
    """A verification with settings; the secret is the old one unless they say otherwise."""
    clock = clock or ManualClock()
    settings = Settings({"OPENCX_WEBHOOK_SECRET": OLD} | environ)
    return webhook(settings, Secrets(settings, clock=clock), now=clock.now)


def code_of(made: Webhook, headers: dict[str, str], body: bytes = BODY) -> str:
    """The code with which a delivery is refused."""
    with pytest.raises(Unauthorized) as refused:
        made.verify(headers, body)
    assert refused.value.http_status == 401
    return refused.value.code


def test_what_the_official_signer_signs_holds() -> None:
    """Standard Webhooks without a setting; header names in any case."""
    made = verifier()
    first = made.verify(signed(), BODY)
    assert first == made.verify({name.upper(): value for name, value in signed().items()}, BODY)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_every_header_is_needed(name: str) -> None:
    """A header that is missing or blank is 401."""
    headers = signed()
    assert code_of(verifier(), headers | {name: "  "}) == "webhook_headers_missing"
    del headers[name]
    assert code_of(verifier(), headers) == "webhook_headers_missing"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"webhook-id": "msg_other"}, "webhook_signature_wrong"),
        ({"webhook-id": "two words"}, "webhook_headers_malformed"),
        ({"webhook-id": "x" * 256}, "webhook_headers_malformed"),
        ({"webhook-timestamp": "soon"}, "webhook_headers_malformed"),
        ({"webhook-timestamp": "٣" * 10}, "webhook_headers_malformed"),
        ({"webhook-timestamp": "99999999999"}, "webhook_too_new"),
        ({"webhook-signature": "v1,"}, "webhook_signature_wrong"),
        ({"webhook-signature": "v2," + "A" * 44}, "webhook_signature_wrong"),
        ({"webhook-signature": "v1,Grüße"}, "webhook_signature_wrong"),
    ],
)
def test_a_changed_header_does_not_hold(change: dict[str, str], code: str) -> None:
    """Id and time are part of what is signed."""
    assert code_of(verifier(), signed() | change) == code


def test_a_changed_time_within_the_window_does_not_hold() -> None:
    """A captured delivery cannot be made younger."""
    headers = signed()
    headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
    assert code_of(verifier(), headers) == "webhook_signature_wrong"


@given(place=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_no_bit_of_the_body_may_change(place: int, bit: int) -> None:
    """The signature is over the bytes as they came."""
    changed = bytearray(BODY)
    changed[place] ^= 1 << bit
    assert code_of(verifier(), signed(), bytes(changed)) == "webhook_signature_wrong"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(300, ""), (301, "webhook_too_old"), (-300, ""), (-301, "webhook_too_new")],
)
def test_the_window_is_five_minutes_both_ways(seconds: int, code: str) -> None:
    """Older or newer is 401, though the signature holds."""
    clock = ManualClock()
    headers = signed(at=clock.now() - timedelta(seconds=seconds))
    made = verifier(clock)
    if code:
        assert code_of(made, headers) == code
    else:
        made.verify(headers, BODY)


def test_the_window_can_be_set() -> None:
    """OPENCX_WEBHOOK_TOLERANCE_SECONDS."""
    clock = ManualClock()
    headers = signed(at=clock.now() - timedelta(seconds=11))
    assert code_of(verifier(clock, OPENCX_WEBHOOK_TOLERANCE_SECONDS="10"), headers) == "webhook_too_old"


def test_one_of_several_signatures_is_enough() -> None:
    """A sender that rotates signs with both secrets; versions that we do not know are passed over."""
    both = " ".join(["v1a,whatever", *(signed(secret=one)["webhook-signature"] for one in (NEW, OLD))])
    verifier().verify(signed() | {"webhook-signature": both}, BODY)


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_one_of_several_secrets_is_enough(secret: str) -> None:
    """The setting may hold the old and the new one."""
    verifier(OPENCX_WEBHOOK_SECRET=f"{NEW} {OLD}").verify(signed(secret=secret), BODY)


def test_a_rotated_secret_is_asked_for_once() -> None:
    """What does not hold with the known secret is tried with a newer one; the same one is not tried again."""
    asked: list[bool] = []

    def secret(*, is_refused: bool) -> str:
        asked.append(is_refused)
        return NEW if is_refused else OLD

    made = Webhook(Scheme, secret=secret, now=ManualClock().now)
    made.verify(signed(secret=NEW), BODY)
    assert asked == [False, True]
    made.verify(signed(secret=OLD), BODY)
    assert asked == [False, True, False]


def test_without_a_secret_nothing_is_let_in() -> None:
    """503 with the fix, not 204: OpenCX tries again."""
    with pytest.raises(ConfigurationFault, match="OPENCX_WEBHOOK_SECRET"):
        verifier(OPENCX_WEBHOOK_SECRET=" ").verify(signed(), BODY)


@pytest.mark.parametrize("secret", ["plain-text", base64.b64encode(b"raw bytes").decode()])
def test_a_secret_without_its_prefix_is_text_or_base64(secret: str) -> None:
    """Schemes differ in what the secret's characters stand for: both readings are tried."""
    at = ManualClock().now()
    content = f"msg_1.{int(at.timestamp())}.".encode() + BODY
    for key in {secret.encode(), base64.b64decode(secret + "==") if secret.endswith("=") else secret.encode()}:
        signature = base64.b64encode(hmac.new(key, content, "sha256").digest()).decode()
        headers = signed(id_="msg_1") | {"webhook-signature": f"v1,{signature}"}
        verifier(OPENCX_WEBHOOK_SECRET=secret).verify(headers, BODY)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("stamp", ["1769851800", "1769851800.25", "1769851800123", "2026-01-31T09:30:00Z"])
def test_another_scheme_can_be_described(algorithm: str, stamp: str) -> None:
    """Header names, prefix, algorithm, encoding, what is signed, and any usual form of time."""
    made = verifier(
        OPENCX_WEBHOOK_SECRET="text",
        OPENCX_WEBHOOK_ID_HEADER="none",
        OPENCX_WEBHOOK_TIMESTAMP_HEADER="X-OpenCX-Time",
        OPENCX_WEBHOOK_SIGNATURE_HEADER="X-OpenCX-Signature",
        OPENCX_WEBHOOK_PREFIX=f"{algorithm}=",
        OPENCX_WEBHOOK_ALGORITHM=algorithm,
        OPENCX_WEBHOOK_ENCODING="hex",
        OPENCX_WEBHOOK_SIGNED="v0:{timestamp}:{body}",
    )
    digest = hmac.new(b"text", f"v0:{stamp}:".encode() + BODY, algorithm).hexdigest()
    headers = {"x-opencx-time": stamp, "x-opencx-signature": f"{algorithm}={digest.upper()}"}
    made.verify(headers, BODY)
    assert code_of(made, headers, BODY + b" ") == "webhook_signature_wrong"


def test_braces_of_a_body_are_no_placeholders() -> None:
    """What a customer writes is never read as a part of the template."""
    body = b'{"text": "{id} {timestamp} {body}"}'
    verifier().verify(signed(body), body)


def test_a_delivery_is_the_same_however_often_it_is_signed() -> None:
    """Its key comes from its id; from what was signed, where no id is signed: an unsigned id is anybody's."""
    clock = ManualClock()
    made = verifier(clock)
    first = made.verify(signed(at=clock.now()), BODY)
    clock.advance(60)
    again = made.verify(signed(at=clock.now()), BODY)
    other = made.verify(signed(at=clock.now(), id_="msg_3"), BODY)
    assert (again.key, again.body_digest) == (first.key, first.body_digest)
    assert other.key != first.key
    bare = verifier(OPENCX_WEBHOOK_SIGNED="{body}", OPENCX_WEBHOOK_PREFIX="none", OPENCX_WEBHOOK_SECRET="text")
    signature = base64.b64encode(hmac.new(b"text", BODY, hashlib.sha256).digest()).decode()
    keys = {
        bare.verify({"webhook-id": id_, "webhook-timestamp": "1", "webhook-signature": signature}, BODY).key
        for id_ in ("a", "b")
    }
    assert len(keys) == 1


def test_what_cannot_grow_old_is_remembered_longer() -> None:
    """Without a signed time only memory refuses a captured delivery."""
    clock = ManualClock()
    timed = verifier(clock).verify(signed(), BODY)
    bare = verifier(clock, OPENCX_WEBHOOK_SIGNED="{body}", OPENCX_WEBHOOK_SECRET="text")
    signature = base64.b64encode(hmac.new(b"text", BODY, hashlib.sha256).digest()).decode()
    untimed = bare.verify({"webhook-signature": f"v1,{signature}"}, BODY)
    assert timed.remember_until - clock.now() == timedelta(days=3)
    assert untimed.remember_until - clock.now() == timedelta(days=30)


@pytest.mark.parametrize(
    "environ",
    [
        {"OPENCX_WEBHOOK_SIGNED": "{id}.{timestamp}"},
        {"OPENCX_WEBHOOK_ID_HEADER": "none"},
        {"OPENCX_WEBHOOK_TIMESTAMP_HEADER": "none"},
        {"OPENCX_WEBHOOK_ALGORITHM": "md5"},
        {"OPENCX_WEBHOOK_ENCODING": "base32"},
    ],
)
def test_a_scheme_that_proves_nothing_is_refused(environ: dict[str, str]) -> None:
    """The fault names the setting; nothing is let in meanwhile."""
    with pytest.raises(ConfigurationFault, match="OPENCX_WEBHOOK_"):
        scheme(Settings(environ))


def test_an_error_says_nothing_of_the_secret() -> None:
    """Neither secret nor expected signature stands in what a caller reads."""
    made = verifier()
    expected = signed()["webhook-signature"].removeprefix("v1,")
    with pytest.raises(Unauthorized) as refused:
        made.verify(signed() | {"webhook-signature": "v1,AAAA"}, BODY)
    assert expected not in str(refused.value)
    assert OLD not in str(refused.value)
