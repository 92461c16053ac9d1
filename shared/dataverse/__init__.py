"""Dynamics 365 through the Dataverse Web API: incidents and live work items, with their contact and transcript."""

SYSTEM = "dynamics365"
CHATS = "dynamics365.live_work_item"
"""Names the live work item's own set-up in a configuration fault: incidents go on while chats wait for it."""
