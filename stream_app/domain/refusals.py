"""The stable reason codes of dead letters, the same for every source of events."""

from enum import StrEnum


class Refusal(StrEnum):
    """Why an event was refused; values are part of the wire contract and never change meaning."""

    MALFORMED_RECORD = "malformed_record"
    """Not JSON, not an object, a row with another number of cells than the header, or an unfinished quote."""
    RECORD_TOO_LARGE = "record_too_large"
    INVALID_UTF8 = "invalid_utf8"
    MISSING_FIELD = "missing_field"
    """A required field is absent, null or empty."""
    WRONG_TYPE = "wrong_type"
    """A field has another type than the contract says, as text where a number must be."""
    INVALID_ID = "invalid_id"
    """A customer id or event id with a NUL character."""
    ID_TOO_LONG = "id_too_long"
    """A customer id or event id of more than 256 bytes of UTF-8."""
    INVALID_TIME = "invalid_time"
    """A time that cannot be parsed."""
    TIME_OUT_OF_RANGE = "time_out_of_range"
    """A time before 1970 or after 2106."""
    TIME_IN_FUTURE = "time_in_future"
    """A time further ahead of the record's append time than the policy allows (S8)."""
    AMOUNT_NOT_FINITE = "amount_not_finite"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    """An amount whose size exceeds the policy's maximum."""
    UNKNOWN_CURRENCY = "unknown_currency"
    """A currency without a rate in the policy."""
    INVALID_SATISFACTION = "invalid_satisfaction"
    """A satisfaction that is not finite or outside of the range that the policy gives."""
