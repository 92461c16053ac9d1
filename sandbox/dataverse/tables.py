"""The stock tables as data: what an organisation with Customer Service and Omnichannel has.

Limits and options follow Microsoft's table reference pages. `oc_liveworkitem` is no table of Microsoft's;
its columns beyond the key are a guess.
"""

from __future__ import annotations

from sandbox.dataverse.channels import channel_tables
from sandbox.dataverse.columns import choice, define, flag, memo, status, text, to
from sandbox.dataverse.schema import Column, Lookup, Table

STREAM_SOURCES = {
    19241000: "Microsoft Teams",
    192300000: "WhatsApp",
    192310000: "LINE",
    192320000: "WeChat",
    192330000: "Facebook",
    192340000: "SMS",
    192350000: "Entity Records",
    192350001: "Twitter",
    192350002: "Custom",
    192360000: "Live chat",
    192370000: "Voice",
    192380000: "Video",
    192390000: "Co-browse",
    192400000: "Screen sharing",
    192440000: "Voice call",
    192450000: "Apple Messages for Business",
    192450001: "Google's Business Messages",
}


def _people() -> list[Table]:
    mail = [text(f"emailaddress{n}", 100) for n in (1, 2, 3)]
    contact = Table("contact", "contacts", "contactid", "fullname", "Contact", "Contact", 2, "Contact")
    account = Table("account", "accounts", "accountid", "name", "Account", "Account", 1, "Account")
    user = Table("systemuser", "systemusers", "systemuserid", "fullname", "SystemUser", "User", 8, "User", owned=False)
    team = Table("team", "teams", "teamid", "name", "Team", "Team", 9, "Team", owned=False)
    contact.children = {"incident_customer_contacts": ("incident", "customerid_contact")}
    return [
        define(
            contact,
            *mail,
            text("fullname", 160, create=False, update=False),
            text("firstname", 50),
            text("middlename", 50),
            text("lastname", 50),
            text("mobilephone", 50),
            text("telephone1", 50),
            text("jobtitle", 100),
            memo("description", 2000),
            Column("merged", "Boolean", default=False, create=False, update=False),
            to("masterid", "contact"),
            Lookup(
                "parentcustomerid",
                {"account": "parentcustomerid_account", "contact": "parentcustomerid_contact"},
                type="Customer",
            ),
        ),
        define(
            account,
            *mail,
            text("name", 160),
            text("accountnumber", 20),
            text("telephone1", 50),
            memo("description", 2000),
            to("primarycontactid", "contact"),
        ),
        define(
            user,
            text("fullname", 200, create=False, update=False),
            text("internalemailaddress", 100),
            text("domainname", 1024),
            Column("applicationid", "Uniqueidentifier"),
            Column("azureactivedirectoryobjectid", "Uniqueidentifier"),
            flag("isdisabled", default=False),
            stateful=False,
        ),
        define(
            team,
            text("name", 160),
            choice("teamtype", {0: "Owner", 1: "Access", 2: "Security Group", 3: "Office Group"}, default=0),
            stateful=False,
        ),
    ]


def _service() -> list[Table]:
    incident = Table("incident", "incidents", "incidentid", "title", "Incident", "Incident", 112, "Case")
    queue = Table("queue", "queues", "queueid", "name", "Queue", "Queue", 2020, "Queue")
    item = Table("queueitem", "queueitems", "queueitemid", "title", "QueueItem", "QueueItem", 2029, "Queue Item")
    note = Table("annotation", "annotations", "annotationid", "subject", "Annotation", "Note", 5, "Note")
    subject = Table("subject", "subjects", "subjectid", "title", "Subject", "Subject", 129, "Subject", owned=False)
    incident.children = {"Incident_Annotation": ("annotation", "objectid_incident")}
    return [
        define(
            incident,
            text("title", 200),
            memo("description", 2000),
            text("ticketnumber", 100, update=False),
            text("emailaddress", 100),
            choice("prioritycode", {1: "High", 2: "Normal", 3: "Low"}, default=2),
            choice(
                "caseorigincode",
                {1: "Phone", 2: "Email", 3: "Web", 2483: "Facebook", 3986: "Twitter", 700610000: "IoT"},
            ),
            choice("casetypecode", {1: "Question", 2: "Problem", 3: "Request"}),
            choice("severitycode", {1: "Default Value"}, default=1),
            flag("routecase", default=True, update=False),
            Column("sentimentvalue", "Double"),
            *status(
                {0: "Active", 1: "Resolved", 2: "Cancelled"},
                {
                    1: ("In Progress", 0),
                    2: ("On Hold", 0),
                    3: ("Waiting for Details", 0),
                    4: ("Researching", 0),
                    5: ("Problem Solved", 1),
                    1000: ("Information Provided", 1),
                    6: ("Cancelled", 2),
                    2000: ("Merged", 2),
                },
            ),
            Lookup(
                "customerid",
                {"contact": "customerid_contact", "account": "customerid_account"},
                type="Customer",
            ),
            to("primarycontactid", "contact"),
            to("subjectid", "subject"),
            to("parentcaseid", "incident"),
        ),
        define(
            queue,
            text("name", 200),
            memo("description", 2000),
            text("emailaddress", 100),
            choice("queueviewtype", {0: "Public", 1: "Private"}, default=0),
        ),
        define(
            item,
            text("title", 300, create=False, update=False),
            Column("enteredon", "DateTime", create=False, update=False),
            Column("objecttypecode", "Integer", create=False, update=False),
            Column("priority", "Integer"),
            to("queueid", "queue"),
            Lookup(
                "objectid",
                {
                    "incident": "objectid_incident",
                    "msdyn_ocliveworkitem": "objectid_msdyn_ocliveworkitem",
                },
            ),
            Lookup("workerid", {"systemuser": "workerid_systemuser", "team": "workerid_team"}),
        ),
        define(
            note,
            text("subject", 500),
            memo("notetext", 100_000),
            text("filename", 255),
            text("mimetype", 256),
            memo("documentbody", 1_073_741_823),
            flag("isdocument", default=False),
            Lookup(
                "objectid",
                {
                    table: f"objectid_{table}"
                    for table in ("incident", "contact", "account", "msdyn_ocliveworkitem", "oc_liveworkitem")
                },
            ),
            stateful=False,
        ),
        define(subject, text("title", 500), memo("description", 2000), to("parentsubject", "subject")),
    ]


def _omnichannel() -> list[Table]:
    name = "msdyn_ocliveworkitem"
    work = Table(name, f"{name}s", "activityid", "subject", name, "Activity", 10_250, "Conversation", activity=True)
    stream_name = "msdyn_liveworkstream"
    stream = Table(
        stream_name,
        f"{stream_name}s",
        f"{stream_name}id",
        "msdyn_name",
        stream_name,
        stream_name,
        10_251,
        "Workstream",
    )
    item_name = "msdyn_ocliveworkitemcontextitem"
    item = Table(
        item_name,
        f"{item_name}s",
        f"{item_name}id",
        "msdyn_name",
        item_name,
        item_name,
        10_252,
        "Conversation context item",
    )
    custom = Table(
        "oc_liveworkitem",
        "oc_liveworkitems",
        "oc_liveworkitemid",
        "oc_subject",
        "oc_liveworkitem",
        "oc_liveworkitem",
        10_253,
        "Live Work Item",
    )
    return [
        define(
            work,
            text("subject", 200),
            memo("description", 2000),
            text("msdyn_title", 4000),
            text("msdyn_ocliveworkitemid", 100),
            text("msdyn_customerlocale", 100),
            Column("msdyn_channel", "MultiSelectPicklist", options=dict(STREAM_SOURCES)),
            choice("prioritycode", {0: "Low", 1: "Normal", 2: "High"}, default=1),
            choice(
                "msdyn_customersentimentlabel",
                {
                    0: "N/A",
                    7: "Very negative",
                    8: "Negative",
                    9: "Slightly negative",
                    10: "Neutral",
                    11: "Slightly positive",
                    12: "Positive",
                    13: "Very positive",
                },
            ),
            choice("msdyn_workstreamworkdistributionmode", {192350000: "Push", 192350001: "Pick"}),
            flag("msdyn_thirdpartyconversation"),
            *status(
                {0: "Open", 1: "Closed", 2: "Resolved", 3: "Scheduled", 4: "Wrap-up"},
                {
                    1: ("Open", 0),
                    2: ("Active", 0),
                    3: ("Waiting", 0),
                    4: ("Closed", 1),
                    6: ("Resolved", 2),
                    7: ("Scheduled", 3),
                    5: ("Wrap-up", 4),
                },
            ),
            Lookup(
                "msdyn_customer",
                {"contact": f"msdyn_customer_{name}_contact", "account": f"msdyn_customer_{name}_account"},
                type="Customer",
            ),
            to("msdyn_liveworkstreamid", stream_name, f"msdyn_liveworkstreamid_{name}"),
            to("msdyn_cdsqueueid", "queue", f"msdyn_cdsqueueid_{name}"),
            to("msdyn_issueid", "incident", f"msdyn_IssueId_{name}"),
            to("regardingobjectid", "incident", f"regardingobjectid_incident_{name}"),
        ),
        define(
            stream,
            text("msdyn_name", 100),
            choice("msdyn_streamsource", dict(STREAM_SOURCES)),
            to("msdyn_defaultqueue", "queue"),
        ),
        define(
            item,
            text("msdyn_name", 100),
            text("msdyn_value", 512),
            flag("msdyn_isdisplayable", default=False),
            to("msdyn_ocliveworkitemid", name),
        ),
        define(
            custom,
            text("oc_subject", 200),
            memo("oc_description", 2000),
            text("oc_channel", 100),
            text("oc_phone", 100),
            text("oc_email", 100),
            text("oc_name", 200),
            memo("oc_contextvariables", 10_000),
            to("oc_contactid", "contact"),
            to("oc_workstreamid", stream_name),
        ),
    ]


def stock_tables() -> list[Table]:
    """Fresh copies of every stock table."""
    return [*_people(), *_service(), *_omnichannel(), *channel_tables()]
