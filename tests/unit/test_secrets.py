"""Secrets: cached, fetched again after a rotation, and kept when the vault is down."""

from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError, ServiceRequestError

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

    def get_secret(self, name: str) -> Any:
        """The answer, or its exception."""
        self.asked.append(name)
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


def secrets(vault: Vault, clock: ManualClock, **environ: str) -> Secrets:
    """Secrets on that vault."""
    return Secrets(Settings({"KEY_VAULT_URL": "https://v", **environ}), clock=clock, store=lambda _: vault)


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
