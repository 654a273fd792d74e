"""How fast a run goes and how long it will take, from looks at its counts. Pure."""

from collections import deque
from dataclasses import dataclass, field

# Over how many seconds the rate is taken: long enough to be calm, short enough to be of now.
WINDOW_SECONDS = 5.0


@dataclass
class Pace:
    """Takes (seconds, done) as they are seen, on any clock that goes forward."""

    looks: deque[tuple[float, int]] = field(default_factory=deque)

    def see(self, seconds: float, done: int) -> None:
        """Add a look; what is older than the window is forgotten but for one."""
        if self.looks and done < self.looks[-1][1]:
            # Messages went back (a retry): what was measured is no measure of what follows.
            self.looks.clear()
        self.looks.append((seconds, done))
        while len(self.looks) > 2 and self.looks[1][0] <= seconds - WINDOW_SECONDS:
            self.looks.popleft()

    @property
    def per_second(self) -> float | None:
        """Messages per second lately; None until there is something to tell."""
        if len(self.looks) < 2:
            return None
        (first, before), (last, after) = self.looks[0], self.looks[-1]
        return (after - before) / (last - first) if last - first >= 0.2 else None

    def seconds_left(self, left: int) -> int | None:
        """How long `left` more will take at this pace; None where nobody can say."""
        rate = self.per_second
        return round(left / rate) if rate and left else None
