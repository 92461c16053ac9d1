"""Phone numbers, in the one spelling that identities and look-ups use."""

import functools


@functools.lru_cache(maxsize=4096)
def e164(number: str) -> str | None:
    """The number as E.164 (``+15551230000``), or None where no country is told and so none can be known."""
    import phonenumbers  # noqa: PLC0415 - 25 ms, and a chat by e-mail never needs it

    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
