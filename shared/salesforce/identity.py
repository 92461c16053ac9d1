"""Identity tokens: what tells Salesforce who a customer is, signed with the private key of the org's keyset.

Facts: Salesforce's key-command-line-utility (header ``alg``, ``kid``, ``typ``; claims ``iss``, ``sub``, ``iat``,
``exp``); ``aud`` is checked according to one live client and not according to another, so it is sent.
"""

import base64
import functools
import re
from datetime import datetime
from typing import TYPE_CHECKING

from shared.errors import ConfigurationFault
from shared.salesforce import SYSTEM
from shared.salesforce.settings import Access

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

LASTS_SECONDS = 300
SKEW_SECONDS = 30
"""How far our clock may be ahead of Salesforce's."""
LEAST_BITS = 2048

_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----(.+?)-----END \1-----", re.DOTALL)


def sign(private_key: str, access: Access, subject: str, *, now: datetime) -> str:
    """An identity token for one customer, good for five minutes.

    Args:
        private_key: RSA, as PEM.
        access: has the issuer and the key's id.
        subject: the customer's stable id.
        now: the time of day.

    Raises:
        ConfigurationFault: the key cannot be read, or issuer or key id is not set.
    """
    import jwt  # noqa: PLC0415 - 60 ms, and only Salesforce's handoffs need it

    issuer = access.issuer or _missing("SALESFORCE_JWT_ISSUER", "the JSON Web Key Issuer of the keyset")
    key_id = access.key_id or _missing("SALESFORCE_AUTH_KEY_ID", "the kid of the uploaded key")
    seconds = int(now.timestamp())
    claims = {
        "iss": issuer,
        "sub": subject,
        "aud": access.audience,
        "iat": seconds - SKEW_SECONDS,
        "exp": seconds + LASTS_SECONDS,
    }
    return jwt.encode(claims, read_key(private_key), algorithm="RS256", headers={"kid": key_id})


@functools.lru_cache(maxsize=4)
def read_key(private_key: str) -> "RSAPrivateKey":
    r"""The key of a PEM, also where its line breaks are written as ``\n``, or were lost on the way into a vault.

    Raises:
        ConfigurationFault: it is no private RSA key of at least 2,048 bits.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_private_key  # noqa: PLC0415

    found = _PEM.search(private_key.replace("\\r", "").replace("\\n", "\n"))
    if found is None:
        raise _unreadable("is no PEM")
    try:
        der = base64.b64decode("".join(found[2].split()), validate=True)
        key = load_der_private_key(der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unreadable("is no private key that can be read without a password") from None
    if not isinstance(key, RSAPrivateKey):
        raise _unreadable("is not an RSA key")
    if key.key_size < LEAST_BITS:
        raise _unreadable(f"has fewer than {LEAST_BITS} bits")
    return key


def _missing(name: str, what: str) -> str:
    raise ConfigurationFault(
        f"Setting {name} is missing, which the private key is of no use without.",
        code="setting_missing",
        system=SYSTEM,
        fix=f"Set {name} to {what}, in Setup, Enhanced Chat User Verification.",
    )


def _unreadable(what: str) -> ConfigurationFault:
    return ConfigurationFault(
        f"The secret SALESFORCE_PRIVATE_KEY {what}.",
        code="salesforce_key_unreadable",
        system=SYSTEM,
        fix="Store the private key's whole PEM (RSA, 2,048 bits or more, no password) as salesforce-private-key.",
    )
