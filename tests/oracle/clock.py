"""The oracle's watermark: which of the producers' clocks the partition believes.

Everything that was said since a vote was cleared is kept in lists, and worked out anew from them.

Never: importing anything of the product.
"""

from typing import Any

STEP_MS = 3_600_000
FIRST, MOST = 64, 512
FROZEN_FROM, MOST_DRAG = 16, 32
VOTERS = 3


class Clock:
    """The small methods are the decisions of the page; the mutation test overrides them one at a time."""

    def __init__(self) -> None:
        self.watermark_ms = 0
        self.ahead = self.behind = FIRST
        self.drag = 0
        self.established = False
        self.said_ahead: list[tuple[int, int]] = []
        """(t, user) of the records ahead since the candidates were cleared."""
        self.said_behind: list[int] = []

    def take(self, t: int, user_id: int) -> str:
        """Moves by one accepted record; "rose", "jumped", "fell" or "stood"."""
        before = self.watermark_ms
        if before == 0:
            self.watermark_ms = t
            return "rose"
        if t > before + STEP_MS:
            self.trust_behind()
            self.drag = max(0, self.drag - 1)
            self.ahead = max(0, self.ahead - 1)
            self.said_ahead.append((t, user_id))
            return self.jump() if self.ahead == 0 and self.has_voters() else "stood"
        if t < before - STEP_MS:
            self.trust_ahead()
            self.drag = min(MOST_DRAG, self.drag + 1)
            self.behind = max(0, self.behind - 1)
            self.said_behind.append(t)
            return self.fall() if self.behind == 0 else "stood"
        self.trust_ahead()
        self.trust_behind()
        self.drag = max(0, self.drag - 1)
        if t > before and not self.is_frozen():
            self.watermark_ms = t
            return "rose"
        return "stood"

    def trust_ahead(self) -> None:
        grown = min(MOST, self.ahead + 1)
        if grown == MOST and self.ahead < MOST:
            self.said_ahead = []
            self.established = True
        self.ahead = grown

    def trust_behind(self) -> None:
        grown = min(MOST, self.behind + 1)
        if grown == MOST and self.behind < MOST:
            self.said_behind = []
        self.behind = grown

    def has_voters(self) -> bool:
        return len({user_id for _, user_id in self.said_ahead}) >= VOTERS

    def is_frozen(self) -> bool:
        return self.drag >= FROZEN_FROM

    def candidate(self) -> int:
        return min(t for t, _ in self.said_ahead)

    def jump(self) -> str:
        before, candidate = self.watermark_ms, self.candidate()
        self.watermark_ms = max(before, candidate)
        self.ahead, self.said_ahead, self.established = FIRST, [], False
        return "jumped" if candidate > before else "stood"

    def fall(self) -> str:
        before, candidate = self.watermark_ms, max(self.said_behind)
        self.watermark_ms = min(before, candidate)
        self.behind, self.said_behind, self.drag = FIRST, [], 0
        return "fell" if candidate < before else "stood"

    def votes(self) -> dict[str, Any]:
        """The companions of the watermark in plain values."""
        voters: list[int] = []
        for _, user_id in self.said_ahead:
            if user_id not in voters and len(voters) < VOTERS:
                voters.append(user_id)
        return {
            "ahead": self.ahead,
            "behind": self.behind,
            "ahead_ms": min((t for t, _ in self.said_ahead), default=0),
            "behind_ms": max(self.said_behind, default=0),
            "voters": voters,
            "drag": self.drag,
            "established": self.established,
        }
