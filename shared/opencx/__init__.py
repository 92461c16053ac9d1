"""OpenCX's REST API: the session and the history of a conversation."""

SYSTEM = "opencx"
