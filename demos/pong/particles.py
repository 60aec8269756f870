"""What flies about when the ball is hit: sparks, rings, the ball's trail, a flash behind a goal."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field

from demos.pong import rules
from demos.pong.scene import Hit, Scene

MAX_SPARKS = 400
TRAIL_S = 0.25
RING_S = 0.45
FLASH_S = 0.6
DRAG = 2.5
SPARKS = {"paddle": 26, "wall": 8, "point": 90}


@dataclass(slots=True)
class Spark:
    x: float
    y: float
    vx: float
    vy: float
    side: str
    life_s: float
    age_s: float = 0.0

    @property
    def strength(self) -> float:
        return 1.0 - self.age_s / self.life_s


@dataclass(slots=True)
class Ring:
    x: float
    y: float
    side: str
    age_s: float = 0.0

    @property
    def strength(self) -> float:
        return 1.0 - self.age_s / RING_S


@dataclass(slots=True)
class Effects:
    """All of it, in field units; `advance` follows the scene.

    Attributes:
        trail: places of the ball and how long ago it was there, oldest first.
        flash_s: for each side, for how long it still shines.
        last_hit: the side whose paddle had the ball last; "" after a serve.
    """

    sparks: deque[Spark] = field(default_factory=lambda: deque(maxlen=MAX_SPARKS))
    rings: deque[Ring] = field(default_factory=lambda: deque(maxlen=8))
    trail: deque[list[float]] = field(default_factory=lambda: deque(maxlen=64))
    flash_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(rules.SIDES, 0.0))
    last_hit: str = ""
    _random: random.Random = field(default_factory=random.Random)

    @property
    def has_sparks(self) -> bool:
        return len(self.sparks) > 12

    def advance(self, scene: Scene, dt: float) -> None:
        """A frame later."""
        for spark in self.sparks:
            spark.age_s += dt
            spark.x += spark.vx * dt
            spark.y += spark.vy * dt
            spark.vx *= 1.0 - min(1.0, DRAG * dt)
            spark.vy *= 1.0 - min(1.0, DRAG * dt)
        for ring in self.rings:
            ring.age_s += dt
        for place in self.trail:
            place[2] += dt
        for side in rules.SIDES:
            self.flash_s[side] = max(0.0, self.flash_s[side] - dt)
        while self.rings and self.rings[0].age_s > RING_S:
            self.rings.popleft()
        while self.trail and self.trail[0][2] > TRAIL_S:
            self.trail.popleft()
        if any(spark.age_s >= spark.life_s for spark in self.sparks):
            self.sparks = deque((each for each in self.sparks if each.age_s < each.life_s), MAX_SPARKS)
        for hit in scene.hits:
            self._burst(hit)
        self.trail.append([*scene.ball, 0.0])

    def _burst(self, hit: Hit) -> None:
        if hit.kind == "point":
            self.trail.clear()
            self.flash_s["right" if hit.side == "left" else "left"] = FLASH_S
        x = min(max(hit.x, 0.0), rules.WIDTH)
        away = math.pi if x > rules.WIDTH / 2 else 0.0  # into the field
        if hit.kind == "wall":
            away = math.pi / 2 if hit.y < rules.HEIGHT / 2 else -math.pi / 2
        else:
            self.last_hit = hit.side if hit.kind == "paddle" else ""
            self.rings.append(Ring(x, hit.y, hit.side))
        for _ in range(SPARKS[hit.kind]):
            angle = away + self._random.uniform(-1.3, 1.3)
            speed = self._random.uniform(10.0, 90.0)
            life_s = self._random.uniform(0.25, 0.8)
            vx, vy = speed * math.cos(angle), speed * math.sin(angle)
            self.sparks.append(Spark(x, hit.y, vx, vy, hit.side, life_s))
