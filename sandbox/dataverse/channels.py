"""The tables behind custom messaging channels: the channel's own row, and who is on the other side."""

from __future__ import annotations

from sandbox.dataverse.columns import choice, define, flag, text, to
from sandbox.dataverse.schema import Table

CHANNEL = "msdyn_occustommessagingchannel"
ENGAGEMENT = "msdyn_customengagementctx"
MESSAGING_API = 192350005


def channel_tables() -> list[Table]:
    """Fresh copies. Limits and options follow Microsoft's table reference pages."""
    channel = Table(CHANNEL, f"{CHANNEL}s", f"{CHANNEL}id", "msdyn_name", CHANNEL, CHANNEL, 10_254, "Custom channel")
    engagement = Table(
        ENGAGEMENT,
        f"{ENGAGEMENT}es",
        f"{ENGAGEMENT}id",
        "msdyn_name",
        ENGAGEMENT,
        ENGAGEMENT,
        10_255,
        "Custom engagement context",
    )
    return [
        define(
            channel,
            text("msdyn_name", 100),
            choice(
                "msdyn_occustomchannelid",
                {
                    192350000: "Direct Line",
                    192350001: "Kik",
                    192350002: "Telegram",
                    192350004: "Google's Business Messages",
                    MESSAGING_API: "Messaging API",
                },
            ),
            text("msdyn_appid", 100),
            text("msdyn_tenantid", 100),
            text("msdyn_webhookurl", 500),
            flag("msdyn_enablefileattachmentsforcustomers", default=False),
            flag("msdyn_enablefileattachmentsforagents", default=False),
            to("msdyn_liveworkstreamid", "msdyn_liveworkstream"),
        ),
        define(
            engagement,
            text("msdyn_name", 100),
            text("msdyn_customsenderid", 100),
            text("msdyn_customername", 100),
            text("msdyn_customeremailaddress", 100),
            text("msdyn_customerphonenumber", 100),
            text("msdyn_customchanneltype", 100),
            to("msdyn_liveworkitemid", "msdyn_ocliveworkitem"),
        ),
    ]
