"""App settings, read by name; a wrong one stops only the handoffs that need it, and says how to mend it."""

import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from shared.errors import ConfigurationFault
from shared.handoff.model import Notice
from shared.handoff.text import parse_json

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(r"[\w-]+(\.[\w-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")


def is_loopback(url: str) -> bool:
    """Whether the address is this very machine."""
    return urlsplit(url).hostname in LOOPBACK


class Settings:
    """Typed access to environment variables.

    Every reader takes ``system``: whose handoffs wait while the setting is wrong.

    Attributes:
        notices: what was tolerated, for ``/api/connections``.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.notices: list[Notice] = []

    def text(self, name: str) -> str | None:
        """The value without blanks around it; None when it is not set."""
        return self._environ.get(name, "").strip() or None

    def required(self, name: str, *, system: str, fix: str) -> str:
        """The value. Raises ConfigurationFault when it is not set."""
        value = self.text(name)
        if value is None:
            raise ConfigurationFault(f"Setting {name} is missing.", code="setting_missing", system=system, fix=fix)
        return value

    def guid(self, name: str, *, system: str, required: bool = False) -> str | None:
        """The value as a GUID in lower case."""
        fix = f"Set {name} to a GUID such as 56ae8258-4878-e511-80d4-00155d2a68d1."
        value = self.required(name, system=system, fix=fix) if required else self.text(name)
        if value is None:
            return None
        try:
            return str(uuid.UUID(value))
        except ValueError:
            raise self._malformed(name, "is not a GUID", system=system, fix=fix) from None

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        """The value as a number; out of range or malformed, the default stands and a notice says so."""
        value = self.text(name)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if least <= number <= most:
            return number
        self._tolerate(name, f"must be a number from {least:g} to {most:g}; {default:g} is used")
        return default

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false; malformed, the default stands and a notice says so."""
        value = (self.text(name) or str(default)).lower()
        if value in ("true", "false"):
            return value == "true"
        self._tolerate(name, f"must be true or false; {str(default).lower()} is used")
        return default

    def choice(self, name: str, default: str, choices: tuple[str, ...], *, system: str) -> str:
        """One of a few words."""
        value = (self.text(name) or default).lower()
        if value in choices:
            return value
        raise self._malformed(
            name, "has an unknown value", system=system, fix=f"Set {name} to one of: {', '.join(choices)}."
        )

    def json_object(self, name: str, *, system: str) -> dict[str, Any]:
        """A JSON object; empty when it is not set."""
        value = self.text(name)
        if value is None:
            return {}
        fix = f"Set {name} to a JSON object, or remove it."
        try:
            data = parse_json(value)
        except (ValueError, RecursionError):
            raise self._malformed(name, "is not JSON", system=system, fix=fix) from None
        if not isinstance(data, dict):
            raise self._malformed(name, "is not a JSON object", system=system, fix=fix)
        return data

    def origin(
        self,
        name: str,
        *,
        system: str,
        default: str | None = None,
        example: str = "https://org.crm.dynamics.com",
        is_https: bool = False,
        has_slash: bool = False,
    ) -> str:
        """The scheme and host of an address, in one spelling: ids and scopes derive from it.

        The host is in lower case, and the scheme's own port is left out. What stands after the host is ignored, with
        a notice, save for a slash where ``has_slash`` says that it is usual. Plain http is taken on loopback only, and
        with ``is_https`` not even there.

        Raises:
            ConfigurationFault: it is not set, or no such address; also when it holds a user name or password.
        """
        fix = f"Set {name} to an address such as {example}."
        value = self.text(name) or default or self.required(name, system=system, fix=fix)
        has_scheme = "://" in value
        try:
            parts = urlsplit(value if has_scheme else f"https://{value}")
            port = parts.port
        except ValueError:
            raise self._malformed(name, "is not an address", system=system, fix=fix) from None
        host = (parts.hostname or "").removesuffix(".")
        if parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host):
            raise self._malformed(name, "is not an https address", system=system, fix=fix)
        if not has_scheme and "." not in host:
            raise self._malformed(name, "is a name, not an address", system=system, fix=fix)
        if parts.username is not None:
            raise self._malformed(name, "holds a user name, which belongs into no address", system=system, fix=fix)
        if parts.scheme == "http" and (is_https or host not in LOOPBACK):
            raise self._malformed(name, "is plain http", system=system, fix=fix)
        origin = _origin(parts, host, port)
        if (value.removesuffix("/") if has_slash else value) != origin:
            self._tolerate(name, f"should be {origin}, with nothing after it")
        return origin

    def _malformed(self, name: str, what: str, *, system: str, fix: str) -> ConfigurationFault:
        return ConfigurationFault(f"Setting {name} {what}.", code="setting_malformed", system=system, fix=fix)

    def _tolerate(self, name: str, what: str) -> None:
        notice = Notice("setting_tolerated", f"Setting {name} {what}.")
        if notice not in self.notices:
            self.notices.append(notice)


def _origin(parts: SplitResult, host: str, port: int | None) -> str:
    at = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{at}"
