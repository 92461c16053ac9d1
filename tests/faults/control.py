"""The control: a client as it is usually written, which posts and tries again. It must double what ours does not."""

from collections.abc import Mapping
from typing import Any

import requests

from sandbox import standins
from shared.dataverse.client import ROOT
from tests.faults.stories import Story
from tests.faults.world import World

TRIES = 4


class NaiveClient:
    """Looks the contact up, posts it, posts the incident; repeats each call until it goes well."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._root = f"{world.dataverse_server.url}{ROOT}"
        token = world.entra.tokens.issue(
            standins.TENANT_ID, standins.DYNAMICS_CLIENT_ID, world.dataverse_server.url, 3600 * 24
        )
        self._session = requests.Session()
        self._session.verify = world.environ["REQUESTS_CA_BUNDLE"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def hand_off(self, story: Story, handoff_id: str) -> None:
        """One handoff to an incident."""
        customer = story.customer(1)
        query = {"$select": "contactid", "$filter": f"emailaddress1 eq '{customer['email']}'"}
        found = self._call("GET", "contacts", params=query)
        rows = found.json().get("value") if found is not None else None
        contact_id = rows[0]["contactid"] if rows else None
        if contact_id is None:
            contact = {
                "lastname": customer["name"],
                "emailaddress1": customer["email"],
                "description": f"Created from chat session {handoff_id}",
            }
            contact_id = _id(self._call("POST", "contacts", json=contact))
        lines = [f"[x] Customer: {text}".replace("\n", "\n    ") for text in story.texts(handoff_id)]
        incident: dict[str, Any] = {
            "title": "Support",
            "description": "\n".join([f"Session: {handoff_id}", *lines]),
        }
        if contact_id:
            incident["customerid_contact@odata.bind"] = f"/contacts({contact_id})"
        self._call("POST", "incidents", json=incident)

    def _call(self, method: str, path: str, **options: Any) -> requests.Response | None:
        for _ in range(TRIES):
            try:
                response = self._session.request(method, self._root + path, timeout=20, **options)
                if response.ok and (method == "POST" or isinstance(response.json(), Mapping)):
                    return response
            except (requests.RequestException, ValueError):
                continue
        return None


def _id(response: requests.Response | None) -> str | None:
    entity = response.headers.get("OData-EntityId", "") if response is not None else ""
    return entity.rpartition("(")[2].rstrip(")") or None
