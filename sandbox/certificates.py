"""A certificate authority of the sandbox's own, so that real clients speak TLS to the stand-ins."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import certifi
import trustme


class Authority:
    """Issues server certificates for localhost and writes its own to a file for `REQUESTS_CA_BUNDLE`.

    Attributes:
        ca_file: PEM file with the authority; with `public` also those that were trusted so far (the file
        named by
            `REQUESTS_CA_BUNDLE` or `SSL_CERT_FILE`, else certifi's), so that a process that is given it can
            still reach real services.
    """

    def __init__(self, ca_file: Path, *, public: bool = False) -> None:
        """Make a new authority and write the file; the private key stays in memory."""
        self.ca_file = ca_file
        self._ca = trustme.CA()
        pem = self._ca.cert_pem.bytes()
        if public:
            named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or certifi.where()
            pem += b"\n" + Path(named).read_bytes() if Path(named).is_file() else b""
        ca_file.parent.mkdir(parents=True, exist_ok=True)
        ca_file.write_bytes(pem)

    def server_context(self) -> ssl.SSLContext:
        """TLS for a server on localhost and 127.0.0.1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        return context
