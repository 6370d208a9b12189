"""A transaction as the contract of topic `transactions` names it, decoded and valid.

Never: parsing (see `decode`), a card number in clear.
"""

import msgspec

from ray_fraud.domain.contract import City, Country, Latitude, Longitude


class Location(msgspec.Struct, frozen=True, gc=False):
    """Where the card was used; degrees, WGS 84.

    lat = lon = 0 is a placeholder: real feeds write it for "unknown".
    """

    lat: Latitude
    lon: Longitude
    city: City | None = None
    country: Country | None = None


class CardToken(msgspec.Struct, frozen=True, gc=False):
    """All that remains of a card number behind the decoder."""

    token: str
    """Keyed BLAKE2b-128 of the whole number, hex."""
    first6: str
    last4: str


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """One valid transaction. Amount in the deployment's base currency, timestamp in unix seconds."""

    transaction_id: str
    user_id: int
    amount: float
    timestamp: float
    location: Location | None = None
    """As it was sent, a placeholder included: for digests and for people. Whatever computes takes `place`."""
    merchant_id: str | None = None
    device_id: str | None = None
    currency: str | None = None
    channel: str | None = None
    card: CardToken | None = None
    user_text: str | None = None
    """The user id as the producer wrote it, if it is text; `user_id` is its number then."""

    @property
    def place(self) -> Location | None:
        """Where it was; None without a location, and for a placeholder."""
        location = self.location
        return location if location is not None and (location.lat or location.lon) else None

    @property
    def event_ms(self) -> int:
        """Event time in unix milliseconds; every window is judged by this whole number."""
        return round(self.timestamp * 1000)
