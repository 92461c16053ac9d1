"""The errors of the Web API: HTTP status, code and message as the reference pages give them."""

from __future__ import annotations

from collections.abc import Mapping

_HELP = "https://go.microsoft.com/fwlink/?linkid=2195293"


class DataverseError(Exception):
    """A refusal. `status` is the HTTP status, `code` the hexadecimal error code, `headers` go with it."""

    def __init__(self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def payload(set_name: str, inner: str) -> DataverseError:
    """0x80048d19: the JSON, a property or a bind is not what the table declares."""
    text = (
        f"Error identified in Payload provided by the user for Entity :'{set_name}', For more information on "
        f"this error please follow this help link {_HELP}  ---->  InnerException : {inner}"
    )
    return DataverseError(400, "0x80048d19", text)


def undeclared_bind(set_name: str, name: str) -> DataverseError:
    """0x80048d19 for `name@odata.bind` when there is no such navigation property."""
    return payload(
        set_name,
        f"Microsoft.OData.ODataException: An undeclared property '{name}' which only has property "
        "annotations in the payload but no property value was found in the payload. In OData, only declared "
        "navigation properties and declared named streams can be represented as properties without values.",
    )


def unknown_property(set_name: str, name: str, table: str) -> DataverseError:
    """0x80048d19 for a column that the table does not have."""
    return payload(
        set_name,
        f"Microsoft.Crm.CrmException: Invalid property '{name}' was found in entity 'Microsoft.Dynamics.CRM."
        f"{table}'. ---> Microsoft.OData.ODataException: Does not support untyped value in non-open type.",
    )


def wrong_type(set_name: str, name: str, value: object, edm_type: str) -> DataverseError:
    """0x80048d19 for a value of the wrong JSON type."""
    return payload(
        set_name,
        "Microsoft.OData.ODataException: Cannot convert the literal "
        f"'{str(value)[:100]}' to the expected type '{edm_type}' (property '{name}').",
    )


def query(message: str) -> DataverseError:
    """0x80060888: the query is malformed or names what is not there."""
    return DataverseError(400, "0x80060888", message)


def unknown_query_property(name: str, table: str) -> DataverseError:
    """0x80060888 for an unknown column in `$select`, `$filter` or `$orderby`."""
    return query(f"Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{table}'.")


def segment_not_found(segment: str) -> DataverseError:
    """0x8006088a: the URL names no resource; set names are case-sensitive."""
    return DataverseError(404, "0x8006088a", f"Resource not found for the segment '{segment}'.")


def not_found(schema_name: str, row_id: str) -> DataverseError:
    """0x80040217: no row with this id."""
    return DataverseError(404, "0x80040217", f"Entity '{schema_name}' With Id = {row_id} Does Not Exist")


def not_found_by_key(table: str) -> DataverseError:
    """0x80060891: no row with these key values."""
    text = f"A record with the specified key values does not exist in {table} entity"
    return DataverseError(404, "0x80060891", text)


def key_not_defined(table: str) -> DataverseError:
    """0x80060890: the columns in the URL are no alternate key."""
    return DataverseError(
        400,
        "0x80060890",
        f"The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.{table}'. Ensure that "
        "the names and number of key properties match the declared or alternate key properties for "
        f"the resource 'Microsoft.Dynamics.CRM.{table}'.",
    )


def duplicate_id() -> DataverseError:
    """0x80040237: the id is taken, or `If-None-Match: *` met a row."""
    return DataverseError(412, "0x80040237", "A record with matching key values already exists.")


def duplicate_key(key: str, columns: str) -> DataverseError:
    """0x80060892: an alternate key would not be unique."""
    text = f"Entity key {key} violated. A record with the same value for {columns} already exists."
    return DataverseError(412, "0x80060892", text)


def version_mismatch() -> DataverseError:
    """0x80060882: `If-Match` holds an old ETag."""
    return DataverseError(
        412,
        "0x80060882",
        "The version of the existing record doesn't match the RowVersion property provided.",
    )


def too_long(column: str, table: str, limit: int) -> DataverseError:
    """0x80044331: more UTF-16 units than MaxLength."""
    return DataverseError(
        400,
        "0x80044331",
        f"A validation error occurred.  The length of the '{column}' attribute of the '{table}' entity "
        f"exceeded the maximum allowed length of '{limit}'.",
    )


def out_of_range(value: object, column: str, table: str, accepted: str) -> DataverseError:
    """0x8004431a: the option set has no such value."""
    return DataverseError(
        400,
        "0x8004431a",
        f"A validation error occurred. The value {value} of '{column}' on record of type '{table}' is "
        f"outside the valid range. Accepted Values: {accepted}",
    )


def invalid_character(column: str, character: str) -> DataverseError:
    """0x80040278: a character that XML 1.0 cannot hold."""
    return DataverseError(
        400,
        "0x80040278",
        f"Invalid character in field '{column}': '', hexadecimal value 0x{ord(character):02X}, "
        "is an invalid character.",
    )


def invalid_argument(message: str) -> DataverseError:
    """0x80040203: an argument that cannot be right."""
    return DataverseError(400, "0x80040203", message)


def method_not_allowed(method: str) -> DataverseError:
    """405; the code is one of those listed for the status, the text is ours."""
    return DataverseError(405, "0x80040227", f"The requested resource does not support http method '{method}'.")
