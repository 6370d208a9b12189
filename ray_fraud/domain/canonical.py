"""Canonical bytes and digests of immutable contents (settings, splits, manifests).

Never: floats in locale format, unordered keys.
"""

import hashlib
from typing import Any

import msgspec


def canonical_json(content: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal contents have equal bytes."""
    return msgspec.json.encode(content, order="deterministic")


def content_digest(content: bytes) -> str:
    """SHA-256, hex: the name of an immutable content."""
    return hashlib.sha256(content).hexdigest()
