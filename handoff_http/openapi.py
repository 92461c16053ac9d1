"""The OpenAPI 3.1 document. Flat on purpose: OpenCX's import refuses nested ``oneOf`` and circular references."""

from typing import Any

from shared.app import VERSION

_TEXT = {"type": "string"}
_NULLABLE = {"type": ["string", "null"]}
_ID = {"name": "handoff_id", "in": "path", "required": True, "schema": _TEXT}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}


_REQUEST = _object(
    {
        "session_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": 128,
            "description": "The OpenCX session. Leave it out where the header x-opencx-session-id brings it.",
        },
        "handoff_id": {"type": "string", "maxLength": 128, "description": "Default: the session id."},
        "channel": {"type": "string", "description": "web, sms, whatsapp, phone, email or another name."},
        "summary": {"type": "string", "description": "What the customer wants, in a sentence or two."},
        "classification": {"type": "string", "description": "What it is about, such as billing."},
        "sentiment": {"type": "string", "description": "angry, neutral or happy."},
        "reason": {"type": "string", "description": "Why the AI hands over."},
        "language": {"type": "string", "description": "The customer's language, such as en."},
        "contact": _object(
            {
                "name": _TEXT,
                "email": {"type": "string", "format": "email"},
                "phone_number": {"type": "string", "description": "Best as E.164, such as +15550100."},
                "external_id": _TEXT,
                "verified": {"type": "boolean"},
            }
        ),
        "transcript": {
            "type": "array",
            "description": "Left out, it is read from OpenCX. OpenCX's history items are taken as they are, too.",
            "items": _object(
                {
                    "role": {"type": "string", "description": "contact, ai or agent."},
                    "text": _TEXT,
                    "at": {"type": "string", "format": "date-time"},
                    "name": _TEXT,
                }
            ),
        },
        "priority": {"type": "integer", "minimum": 1, "maximum": 4},
        "queue_id": {"type": "string", "format": "uuid"},
        "workstream_id": {"type": "string", "format": "uuid"},
        "owner_id": {"type": "string", "description": "A user's GUID, or teams(<guid>)."},
        "ticket_properties": {"type": "object", "description": "More columns of the incident."},
        "target": {"type": "string", "enum": ["dynamics365", "salesforce"]},
        "session_url": {"type": "string", "format": "uri"},
        "ticket_number": _TEXT,
        "organization_id": _TEXT,
        "custom_data": {"type": "object"},
    },
    "channel",
)

_IDS = {
    "handoff_id": _TEXT,
    "session_id": _TEXT,
    "system": _TEXT,
    "kind": {
        "type": ["string", "null"],
        "enum": ["incident", "live_work_item", "messaging_conversation", "case", None],
    },
    "channel": _NULLABLE,
    "dynamics365_incident_id": _NULLABLE,
    "dynamics365_ticket_number": _NULLABLE,
    "dynamics365_chat_id": _NULLABLE,
    "salesforce_conversation_id": _NULLABLE,
    "salesforce_case_id": _NULLABLE,
    "url": _NULLABLE,
    "contact": {
        "type": ["object", "null"],
        "properties": {"id": _NULLABLE, "linked": {"type": "boolean"}, "created": {"type": "boolean"}},
    },
    "warnings": {"type": "array", "items": _object({"code": _TEXT, "message": _TEXT}, "code", "message")},
}

_SCHEMAS = {
    "HandoffRequest": _REQUEST,
    "Handoff": _object(
        {
            "status": {"type": "string", "enum": ["completed", "accepted"]},
            "replayed": {"type": "boolean"},
            **_IDS,
            "message": {"type": "string", "description": "One sentence that may be said to the customer."},
        },
        "status",
        "replayed",
        "handoff_id",
        "session_id",
        "message",
    ),
    "Record": _object(
        {
            "status": {"type": "string", "enum": ["completed", "accepted", "failed"]},
            **_IDS,
            "state": {"type": "string", "enum": ["pending", "retrying", "completed", "failed"]},
            "attempts": {"type": "integer"},
            "created_at": _TEXT,
            "updated_at": _TEXT,
            "completed_at": _NULLABLE,
            "next_attempt_at": _NULLABLE,
            "conversation": {
                "type": ["object", "null"],
                "description": "The messages that are carried both ways; null where none are.",
                "properties": {
                    "state": {"type": "string", "enum": ["open", "ended"]},
                    "opened_at": _TEXT,
                    "ended_at": _NULLABLE,
                    "ended_by": _NULLABLE,
                    "to_customer": {"type": "integer"},
                    "to_rep": {"type": "integer"},
                    "undelivered": {"type": "integer"},
                    "last_error": _NULLABLE,
                },
            },
            "last_error": {
                "type": ["object", "null"],
                "properties": {"code": _TEXT, "message": _TEXT, "fix": _NULLABLE},
            },
        },
        "status",
        "state",
        "handoff_id",
    ),
    "Records": _object({"items": {"type": "array", "items": _ref("Record")}, "next": _NULLABLE}, "items"),
    "Connections": _object(
        {
            "status": {"type": "string", "enum": ["active", "attention"]},
            "checks": {
                "type": "array",
                "items": _object(
                    {
                        "name": _TEXT,
                        "status": {"type": "string", "enum": ["ok", "warning", "failed", "skipped"]},
                        "message": _TEXT,
                        "fix": _NULLABLE,
                    }
                ),
            },
        },
        "status",
        "checks",
    ),
    "Health": _object({"status": _TEXT, "version": _TEXT}, "status", "version"),
    "Error": _object(
        {
            "statusCode": {"type": "integer"},
            "error": _TEXT,
            "message": _TEXT,
            "code": _TEXT,
            "retryable": {"type": "boolean"},
            "details": {"type": "array", "items": _object({"field": _TEXT, "message": _TEXT})},
            "handoff_id": _NULLABLE,
        },
        "statusCode",
        "error",
        "message",
        "code",
        "retryable",
    ),
}

_HANDOFF_ANSWERS = {
    "200": _answer("It was done before; the same ids.", "Handoff"),
    "201": _answer("Done now.", "Handoff"),
    "202": _answer("Stored durably, not done yet; it is tried again by itself.", "Handoff"),
    "502": _answer("Dynamics 365 refused it for good; stored as failed, replayable after the fix.", "Error"),
    "503": _answer("It could be neither stored nor delivered: call again.", "Error"),
}


def document(server_url: str) -> dict[str, Any]:
    """The document, for a service that answers under this address."""
    no_security: list[Any] = []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OpenCX conversation handoff",
            "version": VERSION,
            "description": "Brings a conversation that the AI gives up to a human rep in Dynamics 365.",
        },
        "servers": [{"url": server_url}],
        "security": [{"functionKey": []}],
        "paths": {
            "/handoff": {
                "post": {
                    "operationId": "create_handoff",
                    "summary": "Hand this conversation over to a human colleague",
                    "description": "Call it once when the customer needs a person. Calling it again is harmless.",
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": _ref("HandoffRequest")}},
                    },
                    "responses": {
                        **_HANDOFF_ANSWERS,
                        "400": _answer("Not JSON, or fields are wrong: all are listed.", "Error"),
                        "413": _answer("The body is too large.", "Error"),
                        "415": _answer("The body is not application/json.", "Error"),
                    },
                }
            },
            "/handoff/{handoff_id}": {
                "get": {
                    "operationId": "get_handoff",
                    "summary": "Show the record of a handoff",
                    "parameters": [_ID],
                    "responses": {
                        "200": _answer("The record.", "Record"),
                        "404": _answer("There is none of that id.", "Error"),
                    },
                }
            },
            "/handoff/{handoff_id}/replay": {
                "post": {
                    "operationId": "replay_handoff",
                    "summary": "Try a handoff again now",
                    "parameters": [_ID],
                    "responses": {**_HANDOFF_ANSWERS, "404": _answer("There is none of that id.", "Error")},
                }
            },
            "/handoffs": {
                "get": {
                    "operationId": "list_handoffs",
                    "summary": "List handoffs by state, newest first",
                    "parameters": [
                        {"name": "state", "in": "query", "schema": {"type": "string", "default": "failed"}},
                        {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 50}},
                        {"name": "cursor", "in": "query", "schema": _TEXT},
                    ],
                    "responses": {
                        "200": _answer("One page.", "Records"),
                        "400": _answer("The query is wrong.", "Error"),
                    },
                }
            },
            "/connections": {
                "get": {
                    "operationId": "test_connections",
                    "summary": "Test every configured system",
                    "responses": {"200": _answer("One row a check.", "Connections")},
                }
            },
            "/health": {
                "get": {
                    "operationId": "get_health",
                    "summary": "Is the service up?",
                    "security": no_security,
                    "responses": {"200": _answer("It is.", "Health")},
                }
            },
        },
        "components": {
            "securitySchemes": {"functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"}},
            "schemas": _SCHEMAS,
        },
    }
