"""Who this service is to Azure: one credential a process, its SDK loaded on first use."""

import functools
import os
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential

TIMEOUT_SECONDS = 5
"""Of one call for a token; azure-core's own default is 300 s."""

_CLOUDS = frozenset({"login.microsoftonline.com", "login.chinacloudapi.cn", "login.microsoftonline.us"})


def is_known_cloud(authority: str | None) -> bool:
    """Whether the authority is one of Microsoft's clouds, whose instances Entra can vouch for.

    Raises:
        ValueError: it is no address.
    """
    if not authority:
        return True
    return urlsplit(authority if "://" in authority else f"https://{authority}").hostname in _CLOUDS


@functools.cache
def default_credential() -> TokenCredential:
    """The credential for Key Vault and Table Storage: the managed identity in Azure, the developer's locally."""
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    from shared.config.transport import Transport  # noqa: PLC0415

    known = is_known_cloud(os.environ.get("AZURE_AUTHORITY_HOST"))
    return DefaultAzureCredential(
        disable_instance_discovery=not known,
        retry_total=1,
        process_timeout=TIMEOUT_SECONDS,
        transport=Transport(connection_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS),
    )
