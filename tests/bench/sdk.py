"""The same work by Microsoft's own client, `PowerPlatform-Dataverse-Client`, as its documentation shows it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Self

from azure.identity import ClientSecretCredential
from PowerPlatform.Dataverse.client import DataverseClient

from shared.dataverse.contacts import split_name
from shared.handoff import document
from shared.handoff.model import Handoff


class Official:
    """Looks the contact up, creates contact, incident and note, and puts the incident into its queue: five calls."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._running = ExitStack()
        self._queue_id = settings["DEFAULT_QUEUE_ID"]
        self._credential = ClientSecretCredential(
            settings["DYNAMICS_TENANT_ID"],
            settings["DYNAMICS_CLIENT_ID"],
            settings["DYNAMICS_CLIENT_SECRET"],
            disable_instance_discovery=True,
        )
        self._client = DataverseClient(settings["DYNAMICS_ENVIRONMENT_URL"], self._credential)

    def __enter__(self) -> Self:
        self._running.enter_context(self._credential)
        self._running.enter_context(self._client)  # keeps its connections
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def perform(self, handoff: Handoff) -> str:
        """One handoff; returns the incident's id. Raises the SDK's DataverseError."""
        records = self._client.records
        text = document.document(handoff, channel=handoff.channel or "")
        email = handoff.contact.email
        found = records.list("contact", filter=f"emailaddress1 eq '{email}'", select=["contactid"], top=1)
        row = found.first()
        if row is not None:
            contact_id = str(row["contactid"])
        else:
            first, last = split_name(handoff.contact)
            contact_id = records.create("contact", {"firstname": first, "lastname": last, "emailaddress1": email})
        incident_id = records.create(
            "incident",
            {
                "title": text.title,
                "description": text.opening(2000, where=""),
                "customerid_contact@odata.bind": f"/contacts({contact_id})",
                "primarycontactid@odata.bind": f"/contacts({contact_id})",
                "prioritycode": 2,
                "caseorigincode": 1,
            },
        )
        bound = {"objectid_incident@odata.bind": f"/incidents({incident_id})"}
        records.create("annotation", {"subject": "Transcript", "notetext": "\n".join(text.notes()), **bound})
        records.create("queueitem", {"queueid@odata.bind": f"/queues({self._queue_id})", **bound})
        return incident_id
