"""Draws a scene onto a pygame surface of any size, as large as it fits with black beside it."""

from __future__ import annotations

import pygame

from demos.pong import rules
from demos.pong.canvas import Canvas
from demos.pong.captions import announcement
from demos.pong.particles import FLASH_S, TRAIL_S, Effects
from demos.pong.scene import Scene
from demos.pong.sprites import Sprites, dimmed
from pygase_gevent import GameState

BACKGROUND = (11, 15, 30)
FIELD = (17, 23, 44)
LINE = (44, 56, 96)
TEXT = (226, 233, 255)
DIM = (120, 135, 180)
BALL = (255, 244, 214)
COLOURS = {"left": (61, 214, 255), "right": (255, 94, 148), "": (150, 160, 200)}
BALL_RADIUS = 1.4
PADDLE_WIDTH = 2.4
TRAIL_STEPS = 10
HELP = "W/S or arrows move      F1 network      M sound      F11 full screen      Q quits"


class Painter:
    """Everything is placed in field units; `scale` makes pixels of them.

    Args:
        size: of the surface, in pixels.

    Attributes:
        scale: pixels per field unit.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.scale = min(size[0] / rules.WIDTH, size[1] / rules.HEIGHT)
        width, height = round(rules.WIDTH * self.scale), round(rules.HEIGHT * self.scale)
        self.field = pygame.Rect((size[0] - width) // 2, (size[1] - height) // 2, width, height)
        self.sprites = Sprites(self.scale)

    def draw_field(self, canvas: Canvas, scene: Scene, effects: Effects) -> None:
        """What lies below everything: the field, names and score, the light of a goal."""
        self._draw_flashes(canvas, effects)
        if scene.game is not None and scene.shown is not None:
            self._draw_heads(canvas, scene.game, scene.shown, scene.side)

    def draw_play(self, canvas: Canvas, scene: Scene, effects: Effects) -> None:
        """What moves."""
        if scene.game is None or scene.shown is None:
            return
        canvas.clip(self.field)
        self._draw_effects(canvas, effects)
        for side in rules.SIDES:
            if scene.game.seats[side]:
                self._draw_paddle(canvas, side, scene.paddles[side])
        if all(scene.game.seats.values()) and not scene.shown.winner:
            self._draw_ball(canvas, scene, effects)
        canvas.clip(None)

    def draw_words(self, canvas: Canvas, scene: Scene, below: list[str]) -> None:
        """What is said about the game.

        Args:
            below: lines for the lower edge.
        """
        large, small = announcement(scene)
        middle = rules.WIDTH / 2
        if large:
            is_count = len(large) < 3
            size, colour = (22.0, BALL) if is_count else (12.0, TEXT)
            self.text(canvas, large, middle, 30.0, size, colour, is_clear=True)
        if small:
            self.text(canvas, small, middle, 40.0 if large else 45.0, 4.5, DIM, is_clear=True)
        y = 86.0
        for line in reversed(below):
            self.text(canvas, line, middle, y, 3.3, DIM, is_clear=True)
            y -= 5.5

    def place(self, x: float, y: float) -> tuple[int, int]:
        """The pixel of a place on the field."""
        return self.field.x + round(x * self.scale), self.field.y + round(y * self.scale)

    def paddle_rect(self, side: str, y: float) -> pygame.Rect:
        """Where a paddle is drawn: the ball touches it when its middle is on the paddle's line."""
        front = rules.PADDLE_X[side] + (-BALL_RADIUS if side == "left" else BALL_RADIUS)
        left = front - PADDLE_WIDTH if side == "left" else front
        corner = self.place(left, y - rules.PADDLE_HEIGHT / 2)
        return pygame.Rect(corner, self.sprites.paddle(COLOURS[side]).get_size())

    def text(
        self,
        canvas: Canvas,
        text: str,
        x: float,
        y: float,
        size: float,
        colour: tuple[int, int, int] = TEXT,
        align: str = "center",
        *,
        is_clear: bool = False,
    ) -> pygame.Rect:
        """Writes at a place on the field.

        Args:
            align: the corner or edge of the text that is there.
            is_clear: what lies below the text is wiped out.
        """
        drawn = self.sprites.text(text, size, colour)
        rect = drawn.get_rect()
        setattr(rect, align, self.place(x, y))
        if is_clear:
            canvas.fill(FIELD, rect)
        canvas.blit(drawn, rect)
        return rect

    def background(self) -> pygame.Surface:
        """What never changes."""
        surface = pygame.Surface(self.size)
        surface.fill(BACKGROUND)
        surface.fill(FIELD, self.field)
        thickness = max(1, round(0.3 * self.scale))
        dash = rules.HEIGHT / 30
        for number in range(15):
            x, y = self.place(rules.WIDTH / 2, (2 * number + 0.5) * dash)
            surface.fill(LINE, (x - thickness // 2, y, thickness, round(dash * self.scale)))
        pygame.draw.rect(surface, LINE, self.field, thickness)
        return surface.convert() if pygame.display.get_surface() is not None else surface

    def _draw_heads(self, canvas: Canvas, game: GameState, shown: GameState, own_side: str | None) -> None:
        """Names, won matches and score."""
        for side, x, score_x, align, way in (
            ("left", 6.0, 67.0, "topleft", 1),
            ("right", rules.WIDTH - 6.0, rules.WIDTH - 67.0, "topright", -1),
        ):
            colour = COLOURS[side]
            self.text(canvas, str(shown.score[side]), score_x, 11.0, 15.0, dimmed(colour, 0.75))
            name = rules.name_at(game, side)
            self.text(canvas, name or "free", x, 3.0, 5.0, colour if name else DIM, align)
            if own_side == side:
                self.text(canvas, "you", x, 9.0, 3.4, DIM, align)
            player = game.players.get(game.seats[side])
            for number in range(min(player["wins"], 8) if player else 0):
                start = x + way * (9.0 if own_side == side else 1.0)
                centre = self.place(start + way * 2.6 * number, 11.0)
                canvas.circle(colour, centre, max(2, round(0.8 * self.scale)))

    def _draw_effects(self, canvas: Canvas, effects: Effects) -> None:
        size = max(2, round(0.7 * self.scale))
        half = size // 2
        for spark in effects.sparks:
            colour = dimmed(COLOURS[spark.side], spark.strength)
            x, y = self.place(spark.x, spark.y)
            canvas.fill(colour, pygame.Rect(x - half, y - half, size, size), pygame.BLEND_RGB_ADD)
        for ring in effects.rings:
            radius = round((2.0 + 14.0 * (1.0 - ring.strength)) * self.scale)
            light = pygame.Color(FIELD).lerp(COLOURS[ring.side], 0.6 * ring.strength)
            width = max(1, round(0.3 * self.scale))
            canvas.circle(light, self.place(ring.x, ring.y), radius, width)

    def _draw_flashes(self, canvas: Canvas, effects: Effects) -> None:
        for side, left_s in effects.flash_s.items():
            if left_s > 0:
                rect = pygame.Rect(0, self.field.y, round(3.0 * self.scale), self.field.height)
                if side == "left":
                    rect.left = self.field.left
                else:
                    rect.right = self.field.right
                canvas.fill(dimmed(COLOURS[side], 0.6 * left_s / FLASH_S), rect, pygame.BLEND_RGB_ADD)

    def _draw_paddle(self, canvas: Canvas, side: str, y: float) -> None:
        rect = self.paddle_rect(side, y)
        glow = self.sprites.paddle_glow(COLOURS[side])
        canvas.blit(glow, glow.get_rect(center=rect.center), pygame.BLEND_RGB_ADD)
        canvas.blit(self.sprites.paddle(COLOURS[side]), rect)

    def _draw_ball(self, canvas: Canvas, scene: Scene, effects: Effects) -> None:
        colour = COLOURS[effects.last_hit] if effects.last_hit else BALL
        for x, y, age_s in effects.trail:
            step = int(TRAIL_STEPS * (1.0 - age_s / TRAIL_S))
            if step > 0:
                share = step / TRAIL_STEPS
                spot = self.sprites.spot(BALL_RADIUS * (0.3 + 0.7 * share), colour, 0.4 * share)
                canvas.blit(spot, spot.get_rect(center=self.place(x, y)), pygame.BLEND_RGB_ADD)
        centre = self.place(*scene.ball)
        for sprite, flags in (
            (self.sprites.glow(5 * BALL_RADIUS, BALL, 0.3), pygame.BLEND_RGB_ADD),
            (self.sprites.disc(BALL_RADIUS, BALL), 0),
        ):
            canvas.blit(sprite, sprite.get_rect(center=centre), flags)
