"""Salesforce through Enhanced Chat (Messaging for In-App and Web): conversations between a customer and a rep."""

SYSTEM = "salesforce"
CONVERSATION = "salesforce_conversation"
"""Names one conversation's own limit in a failure: a chat that is too quick must not stop the others."""
EMAIL = "salesforce.email"
"""Names a channel that cannot go to Salesforce in a configuration fault: the others go on."""
