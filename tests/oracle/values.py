"""The oracle's own arithmetic: digests, identities, distances, arms.

Written from `docs/semantics.md` a second time, in plain Python.

Never: importing anything of the product.
"""

import hashlib
import math
import struct

EARTH_RADIUS_KM = 6371.0088
ALERT_NAMESPACE_HEX = "5f0f3a3e8a515c0c9c1e2f1d6b7a9e10"
MASK_64 = 2**64 - 1
BASIS_POINTS = 10_000

MessagePackValue = str | int | float | None


def message_pack(value: MessagePackValue) -> bytes:
    """One scalar in MessagePack (the published specification, smallest form of each kind)."""
    if value is None:
        return b"\xc0"
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, int):
        for limit, prefix, layout in ((0x80, b"", ">B"), (0x100, b"\xcc", ">B"), (0x10000, b"\xcd", ">H")):
            if value < limit:
                return prefix + struct.pack(layout, value)
        return b"\xce" + struct.pack(">I", value) if value < 2**32 else b"\xcf" + struct.pack(">Q", value)
    raw = value.encode("utf-8")
    if len(raw) < 32:
        return bytes([0xA0 | len(raw)]) + raw
    if len(raw) < 0x100:
        return b"\xd9" + struct.pack(">B", len(raw)) + raw
    if len(raw) < 0x10000:
        return b"\xda" + struct.pack(">H", len(raw)) + raw
    return b"\xdb" + struct.pack(">I", len(raw)) + raw


def message_pack_array(values: list[MessagePackValue]) -> bytes:
    """A MessagePack array of at most 15 scalars."""
    if len(values) > 15:
        raise ValueError(f"{len(values)} values, a short array holds at most 15")
    return bytes([0x90 | len(values)]) + b"".join(message_pack(value) for value in values)


def blake2b(content: bytes, size: int) -> bytes:
    return hashlib.blake2b(content, digest_size=size).digest()


def id_hash(transaction_id: str) -> bytes:
    """The four bytes by which a re-used id is noticed."""
    return blake2b(transaction_id.encode("utf-8"), 4)


def uuid5_text(name: str, namespace_hex: str = ALERT_NAMESPACE_HEX) -> str:
    """UUIDv5 (RFC 9562, section 5.5) in its usual text form."""
    raw = bytearray(hashlib.sha1(bytes.fromhex(namespace_hex) + name.encode("utf-8")).digest()[:16])  # noqa: S324
    raw[6] = (raw[6] & 0x0F) | 0x50
    raw[8] = (raw[8] & 0x3F) | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def alert_uid(transaction_id: str, user_id: int, rule: str, payload_digest: bytes) -> str:
    return uuid5_text(f"{user_id}:{rule}:{payload_digest.hex()}:{transaction_id}")


def haversine_km(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """Great-circle distance in km of two places in degrees (Sinnott 1984)."""
    phi_a, phi_b = math.radians(lat_a), math.radians(lat_b)
    half_phi = math.radians(lat_b - lat_a) / 2
    half_lambda = math.radians(lon_b - lon_a) / 2
    square = math.sin(half_phi) ** 2 + math.cos(phi_a) * math.cos(phi_b) * math.sin(half_lambda) ** 2
    root = min(1.0, max(0.0, math.sqrt(square)))
    return 2 * EARTH_RADIUS_KM * math.asin(root)


def arm_of(user_id: int, salt: str, shares_bp: list[int]) -> int:
    """The index of the arm that owns the user's point of 10,000; whole numbers of 64 bits only."""
    x = (user_id + int.from_bytes(blake2b(salt.encode("utf-8"), 8), "little")) & MASK_64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK_64
    point = (x ^ (x >> 31)) % BASIS_POINTS
    below = 0
    for index, share in enumerate(shares_bp):
        below += share
        if point < below:
            return index
    raise ValueError(f"point {point} is in no arm: shares {shares_bp} add up to {below}")
