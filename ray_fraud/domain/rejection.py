"""Why a record was refused: stable codes, the field, and a sentence for people.

Never: the refused value of a card number.
"""

from enum import StrEnum

import msgspec

from ray_fraud.domain.record import Record


class RejectionCode(StrEnum):
    """The closed set of codes; also the label values of the dead-letter metric."""

    EMPTY_VALUE = "empty_value"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    DUPLICATE_KEY = "duplicate_key"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    EMPTY_TEXT = "empty_text"
    TOO_LONG = "too_long"
    FORBIDDEN_CHARACTER = "forbidden_character"
    TIMESTAMP_IN_MILLISECONDS = "timestamp_in_milliseconds"
    RECORD_TIMESTAMP_UNUSABLE = "record_timestamp_unusable"
    TIMESTAMP_IN_FUTURE = "timestamp_in_future"
    BAD_CARD_NUMBER = "bad_card_number"
    USER_ID_TAKEN = "user_id_taken"
    """A text whose number is another text's: nobody is taken for somebody else."""
    NOT_AN_ALERT = "not_an_alert"
    """Of the sink: in topic `fraud_alerts` and no alert of ours, or one that the database can never hold."""


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A refusal; `field` is a dotted path such as `location.lat`, or "" for the whole value."""

    code: RejectionCode
    field: str
    message: str


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A refused record together with the reason, on its way to `transactions.dlq`."""

    record: Record
    rejection: Rejection
