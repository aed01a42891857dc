"""Venue time: market time that runs faster than the wall, pauses, and jumps from close to open."""

from __future__ import annotations

MIN_SPEED, MAX_SPEED = 1.0, 600.0


class VenueClock:
    """venue = anchor + (wall - anchored wall) x speed, never beyond `limit` (the end of the current day).

    In stepped mode time stands still between steps. All instants are epoch seconds.
    """

    def __init__(self, *, wall: float, venue: float, speed: float, stepped: bool = False) -> None:
        self.anchor_wall = wall
        self.anchor_venue = venue
        self.speed = checked_speed(speed)
        self.stepped = stepped
        self.limit: float | None = None

    def at(self, wall: float) -> float:
        if self.stepped:
            return self.anchor_venue
        venue = self.anchor_venue + max(0.0, wall - self.anchor_wall) * self.speed
        return venue if self.limit is None else min(venue, self.limit)

    def set_to(self, venue: float, *, wall: float) -> None:
        """Jump. The next instant is counted from here."""
        self.anchor_wall, self.anchor_venue = wall, venue

    def set_speed(self, speed: float, *, wall: float) -> None:
        """Change the pace without a jump. ValueError outside 1 to 600."""
        checked = checked_speed(speed)
        self.set_to(self.at(wall), wall=wall)
        self.speed = checked

    def wall_seconds_until(self, venue: float, *, wall: float) -> float:
        return max(0.0, (venue - self.at(wall)) / self.speed)


def checked_speed(speed: float) -> float:
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise ValueError(f"speed must be between {MIN_SPEED:g} and {MAX_SPEED:g}")
    return float(speed)
