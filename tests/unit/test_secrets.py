"""Secrets: cached, fetched again after a rotation, and kept when the vault is down."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)

from shared.config.clock import Clock, SystemClock
from shared.config.deadline import seconds_left
from shared.config.identity import default_credential
from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.errors import ConfigurationFault, TransientFailure
from tests.clock import ManualClock

NAME, SYSTEM = "DYNAMICS_CLIENT_SECRET", "dynamics365"


class Vault:
    """A vault that answers what it is told to."""

    def __init__(self) -> None:
        self.answer: str | Exception = "one"
        self.asked: list[str] = []
        self.left: list[float | None] = []
        self.is_asked, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()

    def get_secret(self, name: str) -> Any:
        """The answer, or its exception."""
        self.asked.append(name)
        self.left.append(seconds_left())
        self.is_asked.set()
        assert self.may_answer.wait(10)
        if isinstance(self.answer, Exception):
            raise self.answer
        return SimpleNamespace(value=self.answer)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def vault() -> Vault:
    """A vault."""
    return Vault()


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


def secrets(vault: Vault, clock: Clock, **environ: str) -> Secrets:
    """Secrets on that vault."""
    return Secrets(
        Settings({"KEY_VAULT_URL": "https://v.vault.azure.net/", **environ}), clock=clock, store=lambda _: vault
    )


def test_the_vault_is_asked_once_in_ten_minutes(vault: Vault, clock: ManualClock) -> None:
    """A handoff does not wait for the vault; its name there is the setting's, with dashes."""
    made = secrets(vault, clock)
    assert [made.get(NAME, system=SYSTEM) for _ in range(3)] == ["one"] * 3
    assert vault.asked == ["dynamics-client-secret"]
    clock.advance(601)
    made.get(NAME, system=SYSTEM)
    assert len(vault.asked) == 2


def test_a_refused_secret_is_fetched_anew_once_a_minute(vault: Vault, clock: ManualClock) -> None:
    """After a rotation the new value is used at once; a secret that stays wrong does not flood the vault."""
    made = secrets(vault, clock)
    made.get(NAME, system=SYSTEM)
    clock.advance(61)
    vault.answer = "two"
    assert [made.get(NAME, system=SYSTEM, is_refused=True) for _ in range(5)] == ["two"] * 5
    assert len(vault.asked) == 2


def test_a_vault_that_is_down_does_not_matter_while_a_value_is_known(vault: Vault, clock: ManualClock) -> None:
    """The old value is used; without one the handoff is retried."""
    made = secrets(vault, clock)
    made.get(NAME, system=SYSTEM)
    vault.answer = ServiceRequestError("no route")
    clock.advance(601)
    assert made.get(NAME, system=SYSTEM) == "one"
    with pytest.raises(TransientFailure):
        secrets(vault, clock).get(NAME, system=SYSTEM)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (ResourceNotFoundError("gone"), "secret_missing"),
        ("", "secret_missing"),
        (HttpResponseError(response=SimpleNamespace(status_code=403, reason="", headers={})), "vault_forbidden"),
    ],
)
def test_what_an_administrator_must_mend_says_so(
    vault: Vault, clock: ManualClock, answer: str | Exception, code: str
) -> None:
    """A missing secret and a missing role are configuration faults with their fix."""
    vault.answer = answer
    with pytest.raises(ConfigurationFault) as caught:
        secrets(vault, clock).get(NAME, system=SYSTEM)
    assert caught.value.code == code
    assert caught.value.fix


def test_without_a_vault_the_setting_itself_counts(vault: Vault, clock: ManualClock) -> None:
    """KEY_VAULT_URL not set: the environment variable; neither: the fault names both ways."""
    assert Secrets(Settings({NAME: "env"}), clock=clock).get(NAME, system=SYSTEM) == "env"
    with pytest.raises(ConfigurationFault) as caught:
        Secrets(Settings({}), clock=clock).get(NAME, system=SYSTEM)
    assert "KEY_VAULT_URL" in caught.value.fix
    assert vault.asked == []


def test_nobody_waits_for_the_vault_beyond_the_deadline(vault: Vault) -> None:
    """Neither in line behind another caller, nor in a call of its own; a value that is known is not waited for."""
    made = secrets(vault, SystemClock())
    made.get("OPENCX_API_KEY", system="opencx", deadline=time.monotonic() + 5)
    vault.may_answer.clear()
    vault.is_asked.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(made.get, NAME, system=SYSTEM, deadline=time.monotonic() + 5)
        assert vault.is_asked.wait(10)
        began = time.monotonic()
        with pytest.raises(TransientFailure) as caught:
            made.get(NAME, system=SYSTEM, deadline=began + 0.2)
        assert 0.2 <= time.monotonic() - began < 2
        assert made.get("OPENCX_API_KEY", system="opencx", deadline=began) == "one"
        vault.may_answer.set()
        assert first.result(10) == "one"
    assert caught.value.code == "vault_unavailable"
    assert vault.left[-1] is not None
    assert 4 < vault.left[-1] <= 5


def test_a_token_that_came_too_late_is_no_missing_identity(vault: Vault, clock: ManualClock) -> None:
    """The identity's endpoint took all the time: that is an outage, which no administrator can mend."""
    vault.answer = ClientAuthenticationError("ManagedIdentityCredential: timed out")
    with pytest.raises(TransientFailure) as caught:
        secrets(vault, clock).get(NAME, system=SYSTEM, deadline=clock.monotonic())
    assert caught.value.code == "vault_unavailable"
    with pytest.raises(ConfigurationFault, match="identity"):
        secrets(vault, clock).get(NAME, system=SYSTEM, deadline=clock.monotonic() + 1)


KEY = "OPENCX_API_KEY"


def test_a_secret_that_the_vault_lacks_is_known_to_be_missing_for_ten_minutes(vault: Vault, clock: ManualClock) -> None:
    """An optional secret costs one call; whoever needs it all the same has the vault asked again."""
    vault.answer = ResourceNotFoundError("gone")
    made = secrets(vault, clock)
    assert made.has(KEY) is None
    assert [made.may_have(KEY, system="opencx") for _ in range(3)] == [False] * 3
    assert made.has(KEY) is False
    assert len(vault.asked) == 1
    clock.advance(601)
    assert made.has(KEY) is None
    assert made.may_have(KEY, system="opencx") is False
    vault.answer = "key"
    assert made.get(KEY, system="opencx") == "key"
    assert made.has(KEY) is True
    assert made.may_have(KEY, system="opencx") is True
    assert len(vault.asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        ServiceRequestError("no route"),
        HttpResponseError(response=SimpleNamespace(status_code=403, reason="", headers={})),
    ],
)
def test_a_vault_that_does_not_say_may_have_the_secret(vault: Vault, clock: ManualClock, answer: Exception) -> None:
    """A caller is not refused for an outage; the question may take two seconds, once a minute."""
    vault.answer = answer
    made = secrets(vault, clock)
    assert [made.may_have(KEY, system="opencx") for _ in range(3)] == [True] * 3
    assert vault.left == [2.0]
    assert made.has(KEY) is None
    clock.advance(61)
    made.may_have(KEY, system="opencx")
    assert len(vault.asked) == 2


def test_a_refused_key_that_is_gone_is_missing(vault: Vault, clock: ManualClock) -> None:
    """The secret was deleted from the vault: what was known of it is forgotten."""
    made = secrets(vault, clock)
    made.get(KEY, system="opencx")
    vault.answer = ResourceNotFoundError("gone")
    clock.advance(61)
    with pytest.raises(ConfigurationFault):
        made.get(KEY, system="opencx", is_refused=True)
    assert made.has(KEY) is False


def test_without_a_vault_the_setting_says_whether_there_is_a_secret(clock: ManualClock) -> None:
    """Nothing is called to know it."""
    assert Secrets(Settings({KEY: "k"}), clock=clock).has(KEY) is True
    assert Secrets(Settings({}), clock=clock).may_have(KEY, system="opencx") is False


@pytest.mark.parametrize("url", ["myvault", "https://[v", "http://v.vault.azure.net", "https://u:p@v.vault.azure.net"])
def test_a_wrong_vault_url_names_the_setting(vault: Vault, clock: ManualClock, url: str) -> None:
    """It is no outage: an administrator must act, and no try can help."""
    made = secrets(vault, clock, KEY_VAULT_URL=url)
    with pytest.raises(ConfigurationFault, match="KEY_VAULT_URL") as caught:
        made.get(NAME, system=SYSTEM)
    assert caught.value.code == "setting_malformed"
    assert "vault.azure.net" in caught.value.fix
    assert vault.asked == []


def test_what_no_sign_in_can_be_made_of_is_a_wrong_setting(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """AZURE_AUTHORITY_HOST is no address: an administrator must act, and no try can help."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://[x")
    default_credential.cache_clear()
    made = Secrets(Settings({"KEY_VAULT_URL": "https://v.vault.azure.net"}), clock=clock)
    with pytest.raises(ConfigurationFault, match="AZURE_AUTHORITY_HOST") as caught:
        made.get(NAME, system=SYSTEM)
    assert caught.value.code == "setting_malformed"


def test_the_vaults_url_is_taken_as_the_portal_shows_it(vault: Vault, clock: ManualClock) -> None:
    """With a slash at its end, without a notice."""
    settings = Settings({"KEY_VAULT_URL": "https://v.vault.azure.net/"})
    assert Secrets(settings, clock=clock, store=lambda _: vault).get(NAME, system=SYSTEM) == "one"
    assert settings.notices == []


def test_a_vault_that_shuts_us_out_does_not_make_a_value_wrong(vault: Vault, clock: ManualClock) -> None:
    """A lost role on the vault pauses nothing while the known secret works; a secret that was removed does."""
    made = secrets(vault, clock)
    made.get(NAME, system=SYSTEM)
    clock.advance(601)
    vault.answer = HttpResponseError(response=SimpleNamespace(status_code=403, reason="", headers={}))
    assert made.get(NAME, system=SYSTEM) == "one"
    clock.advance(601)
    vault.answer = ResourceNotFoundError("gone")
    with pytest.raises(ConfigurationFault):
        made.get(NAME, system=SYSTEM)
