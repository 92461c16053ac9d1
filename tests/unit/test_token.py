"""The token: one fetch for all who want it, and nobody waits for it longer than the caller may."""

import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestTimeoutError
from azure.core.rest import HttpRequest
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from shared.config.clock import Clock, SystemClock
from shared.config.deadline import seconds_left, until
from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.config.transport import Transport
from shared.dataverse.settings import Access
from shared.dataverse.token import REFRESH_AGAIN_SECONDS, REFRESH_BEFORE_SECONDS, TokenSource, make_credential
from shared.errors import ConfigurationFault, HandoffError, TransientFailure
from tests.clock import ManualClock

PATIENCE_SECONDS = 10.0
LIFE_SECONDS = 3600


@dataclass
class Entra:
    """A credential that answers when it is let to; ``asked`` holds the seconds that each call might take."""

    now: Callable[[], float] = time.time
    error: Exception | None = None
    is_asked: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)
    asked: list[float | None] = field(default_factory=list)

    def get_token(self, *scopes: str) -> AccessToken:
        """A token of one hour, or the error."""
        assert scopes == ("https://org/.default",)
        self.asked.append(seconds_left())
        self.is_asked.set()
        assert self.may_answer.wait(PATIENCE_SECONDS)
        if self.error is not None:
            raise self.error
        return AccessToken(f"token-{len(self.asked)}", int(self.now()) + LIFE_SECONDS)

    def close(self) -> None:
        """Nothing to close."""


def source(entra: Entra, clock: Clock | None = None, *, tenant: str = "t") -> TokenSource:
    """A token source on that Entra."""
    clock = clock or SystemClock()
    access = Access(origin="https://org", uses_managed_identity=False, tenant_id=tenant, client_id="c")
    secrets = Secrets(Settings({"DYNAMICS_CLIENT_SECRET": "s"}), clock=clock)
    return TokenSource(
        lambda: access,
        secrets=secrets,
        clock=clock,
        wall_seconds=lambda: clock.now().timestamp(),
        credential=lambda *_: entra,
    )


def soon(seconds: float) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def test_nobody_waits_in_line_beyond_the_deadline() -> None:
    """While one caller's fetch hangs, another gives up when its own time is over."""
    entra = Entra()
    tokens = source(entra)
    with ThreadPoolExecutor(1) as pool:
        first: Future[str] = pool.submit(tokens.get, deadline=soon(PATIENCE_SECONDS))
        assert entra.is_asked.wait(PATIENCE_SECONDS)
        began = time.monotonic()
        with pytest.raises(TransientFailure) as caught:
            tokens.get(deadline=soon(0.2))
        waited = time.monotonic() - began
        with pytest.raises(TransientFailure):
            tokens.refuse("token-0", deadline=soon(0.1))
        entra.may_answer.set()
        assert first.result(PATIENCE_SECONDS) == "token-1"
    assert caught.value.code == "entra_unavailable"
    assert 0.2 <= waited < 2
    assert tokens.get(deadline=soon(0)) == "token-1"


def test_who_fetches_takes_no_longer_than_its_deadline() -> None:
    """The calls of the SDK know how much time is left, and know nothing of it afterwards."""
    entra = Entra()
    entra.may_answer.set()
    source(entra).get(deadline=soon(3))
    (left,) = entra.asked
    assert left is not None
    assert 2 < left <= 3
    assert seconds_left() is None


def test_a_token_that_still_works_is_not_waited_for() -> None:
    """In its last five minutes a token is renewed by one caller; the others go on with it."""
    clock = ManualClock()
    entra = Entra(now=lambda: clock.now().timestamp())
    entra.may_answer.set()
    tokens = source(entra, clock)
    assert tokens.get(deadline=25) == "token-1"
    clock.advance(LIFE_SECONDS - REFRESH_BEFORE_SECONDS + 1)
    entra.may_answer.clear()
    entra.is_asked.clear()
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(tokens.get, deadline=clock.monotonic() + 25)
        assert entra.is_asked.wait(PATIENCE_SECONDS)
        assert tokens.get(deadline=clock.monotonic() + 25) == "token-1"
        entra.may_answer.set()
        assert renewing.result(PATIENCE_SECONDS) == "token-2"


def test_an_outage_of_entra_costs_nothing_while_the_token_works() -> None:
    """A renewal that fails is not repeated for half a minute, and may take five seconds, not the whole budget."""
    clock = ManualClock()
    entra = Entra(now=lambda: clock.now().timestamp())
    entra.may_answer.set()
    tokens = source(entra, clock)
    tokens.get(deadline=25)
    clock.advance(LIFE_SECONDS - REFRESH_BEFORE_SECONDS + 1)
    entra.error = ClientAuthenticationError("no answer")
    assert [tokens.get(deadline=clock.monotonic() + 25) for _ in range(5)] == ["token-1"] * 5
    assert entra.asked[1:] == [5.0]
    clock.advance(REFRESH_AGAIN_SECONDS)
    assert tokens.get(deadline=clock.monotonic() + 25) == "token-1"
    assert len(entra.asked) == 3
    clock.advance(REFRESH_BEFORE_SECONDS)
    with pytest.raises(TransientFailure):
        tokens.get(deadline=clock.monotonic() + 25)


def test_those_who_wait_share_a_failure() -> None:
    """Four callers and one outage: Entra is asked once, and all know after that one time-out."""
    entra = Entra(error=ClientAuthenticationError("no answer"))
    tokens = source(entra)
    ready = threading.Barrier(4)

    def get(is_first: bool) -> str:
        if not is_first:
            assert entra.is_asked.wait(PATIENCE_SECONDS)
            ready.wait(PATIENCE_SECONDS)
        try:
            return tokens.get(deadline=soon(PATIENCE_SECONDS))
        except HandoffError as error:
            return error.code

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(get, number == 0) for number in range(4)]
        ready.wait(PATIENCE_SECONDS)
        threading.Timer(0.3, entra.may_answer.set).start()  # the three have only to take their place in line now
        assert [caller.result(PATIENCE_SECONDS) for caller in callers] == ["entra_unavailable"] * 4
    assert len(entra.asked) == 1


@pytest.mark.parametrize(
    ("tenant", "authority"),
    [("my tenant!", "login.microsoftonline.com"), ("t", "https://[x"), ("t", "http://x.example")],
)
def test_what_no_credential_can_be_made_of_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, tenant: str, authority: str
) -> None:
    """azure-identity refuses it before anything is called: an administrator must act, and no try can help."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority)
    tokens = source(Entra(), tenant=tenant)
    tokens._make_credential = make_credential
    with pytest.raises(ConfigurationFault, match="DYNAMICS_TENANT_ID") as caught:
        tokens.get(deadline=soon(PATIENCE_SECONDS))
    assert caught.value.code == "setting_malformed"


def test_an_sdks_call_waits_no_longer_than_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-outs shrink to what is left, retries wait no longer, and with nothing left no call is begun."""
    clock = ManualClock()
    seen: list[object] = []

    def send(_: HTTPAdapter, request: PreparedRequest, *, timeout: object, **__: object) -> Response:
        seen.append(timeout)
        made = Response()
        made.status_code, made.url, made.raw = 204, str(request.url), HTTPResponse(io.BytesIO(), preload_content=False)
        return made

    monkeypatch.setattr(HTTPAdapter, "send", send)
    with Transport(connection_timeout=5, read_timeout=4) as transport:
        request = HttpRequest("GET", "https://login.example")
        transport.send(request)
        with until(3.0, clock.monotonic):
            clock.advance(1)
            transport.send(request)
            clock.advance(2)
            began = time.monotonic()
            transport.sleep(60)
            assert time.monotonic() - began < 5
            with pytest.raises(ServiceRequestTimeoutError):
                transport.send(request)
        transport.send(request, read_timeout=9)
    assert seen == [(5, 4), (2.0, 2.0), (5, 9)]
