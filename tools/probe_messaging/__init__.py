"""Settles, in a sandbox environment, what Microsoft's pages on the Messaging APIs do not say.

Start with `script`: the steps, in their order. `api_rows` and `webhook_rows` say what was seen, what that means for the
service, and what to set.
"""
