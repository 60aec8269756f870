"""Pong in a window: keys and gamepad in, sixty pictures a second out."""

from __future__ import annotations

import os
import statistics
import time
from collections import deque

# SDL reads these when pygame is imported.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_WINDOWS_DPI_AWARENESS", "permonitorv2")

import pygame

from demos.pong import rules
from demos.pong.bot import Bot
from demos.pong.canvas import Canvas
from demos.pong.captions import audience
from demos.pong.meter import Meter
from demos.pong.network import PongClient
from demos.pong.painter import DIM, HELP, Painter
from demos.pong.panel import draw_panel
from demos.pong.particles import Effects
from demos.pong.scene import Scene
from demos.pong.sound import Sounds
from pygase_gevent import ConnectionStatus

SIZE = (960, 540)
FRAME_S = 1 / 60
HELP_S = 8.0
DEAD_ZONE = 0.2
"""A gamepad's stick at rest is not exactly at zero."""
UP_KEYS = {pygame.K_w, pygame.K_UP, pygame.K_k}
DOWN_KEYS = {pygame.K_s, pygame.K_DOWN, pygame.K_j}
QUIT_KEYS = {pygame.K_q, pygame.K_ESCAPE}
MEASURED_FRAMES = 60 * 600
WindowError = pygame.error
"""There is no screen."""
UNSEEN = ("offscreen", "dummy")
"""SDL's drivers that nobody sees; it takes one by itself where nothing else works."""


class Window:
    """Shows a player's game until it is closed.

    Args:
        player: a connected one.
        hint: a line to show while the game waits.
        bot: plays in place of the keyboard.
        size: of the window, in pixels.
        is_muted: starts without sound.

    Raises:
        WindowError: there is no screen.
    """

    def __init__(
        self,
        player: PongClient,
        hint: str = "",
        bot: Bot | None = None,
        *,
        size: tuple[int, int] = SIZE,
        is_muted: bool = False,
    ) -> None:
        self._size, self._is_full = size, False
        self._open()
        pygame.font.init()
        pygame.joystick.init()
        self.scene = Scene(player)
        self.sounds = Sounds(is_muted=is_muted)
        self.shows_panel = False
        self.is_closed = False
        self._fit()
        self._player = player
        self._hint = hint
        self._bot = bot
        self.effects = Effects()
        self._meter = Meter(self.scene)
        self._pads: dict[int, pygame.joystick.JoystickType] = {}
        self._pressed = 0  # keys that went down in this frame: a short press counts, too
        self._age_s = 0.0
        self._frame_times: deque[float] = deque(maxlen=MEASURED_FRAMES)
        self._cpu_s = 0.0

    def run(self, seconds: float = 0.0) -> None:
        """Plays until the window is closed, the connection is over, or, if not 0, `seconds` have passed."""
        started = last = time.monotonic()
        cpu_started = time.process_time()
        due = started
        while not self.is_closed and self._player.status != ConnectionStatus.DISCONNECTED:
            now = time.monotonic()
            if seconds and now - started > seconds:
                break
            self.frame(now - last)
            self._frame_times.append(now - last)
            last = now
            due = max(due + FRAME_S, now)
            time.sleep(max(0.0, due - time.monotonic()))
        self._cpu_s = time.process_time() - cpu_started

    def close(self) -> None:
        pygame.quit()

    def frame(self, dt: float) -> None:
        """Takes what was pressed, moves, and draws."""
        for event in pygame.event.get():
            self._handle(event)
        was_waiting = self.scene.countdown_s > 0
        self.scene.advance(self._way(dt), dt)
        self._age_s += dt
        self.effects.advance(self.scene, dt)
        self._meter.look(time.monotonic())
        self.sounds.play(self.scene.hits, is_serve=was_waiting and not self.scene.countdown_s)
        self._canvas.begin()
        self._draw(self._canvas)
        self._canvas.show()

    def report(self) -> str:
        """How smooth it was, and what it cost."""
        times = sorted(self._frame_times)[1:] or [0.0]
        all_s = sum(times) or 1.0
        size = "{} x {}".format(*self.surface.get_size())
        return (
            f"window {size} ({pygame.display.get_driver()}): {len(times) / all_s:.1f} frames/s, "
            f"median {statistics.median(times) * 1000:.1f} ms, "
            f"99th percentile {times[int(0.99 * (len(times) - 1))] * 1000:.1f} ms; "
            f"process CPU {self._cpu_s / all_s:.0%} of a core over {all_s:.0f} s"
        )

    def _draw(self, canvas: Canvas) -> None:
        scene, painter = self.scene, self.painter
        painter.draw_field(canvas, scene, self.effects)
        if self.shows_panel:
            draw_panel(canvas, painter, scene, self._meter)
        painter.draw_play(canvas, scene, self.effects)
        below = []
        if scene.game is not None and not self.shows_panel:
            is_idle = not all(scene.game.seats.values()) or scene.game.winner or self._age_s < HELP_S
            below = [audience(scene.game, self._player.player_id)]
            below += [self._hint, HELP] if is_idle else []
        painter.draw_words(canvas, scene, [line for line in below if line])
        if self.sounds.is_muted:
            painter.text(canvas, "muted", rules.WIDTH - 6.0, 86.0, 3.3, DIM, "midright")

    def _handle(self, event: pygame.event.Event) -> None:
        if event.type == pygame.QUIT:
            self.is_closed = True
        elif event.type == pygame.VIDEORESIZE:
            self._fit()
        elif event.type == pygame.WINDOWEXPOSED:
            self._canvas.spoil()
        elif event.type == pygame.JOYDEVICEADDED:
            pad = pygame.joystick.Joystick(event.device_index)
            self._pads[pad.get_instance_id()] = pad
        elif event.type == pygame.JOYDEVICEREMOVED:
            self._pads.pop(event.instance_id, None)
        elif event.type == pygame.KEYDOWN:
            self._handle_key(event.key)

    def _handle_key(self, key: int) -> None:
        self._pressed += (key in DOWN_KEYS) - (key in UP_KEYS)
        if key in QUIT_KEYS:
            self.is_closed = True
        elif key == pygame.K_m:
            self.sounds.is_muted = not self.sounds.is_muted
        elif key == pygame.K_F1:
            self.shows_panel = not self.shows_panel
        elif key == pygame.K_F11:
            self._toggle_full_screen()

    def _open(self) -> None:
        pygame.display.init()
        driver = pygame.display.get_driver()
        if driver in UNSEEN and os.environ.get("SDL_VIDEODRIVER") != driver:
            raise WindowError("there is no screen that SDL can draw on")
        if pygame.display.get_driver() == "x11":
            # Else SDL makes a texture of the window, which without a GPU costs five times as much. (Other
            # drivers know nothing else.)
            os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
        pygame.display.set_caption("pong")
        self.surface = pygame.display.set_mode(self._size, pygame.RESIZABLE)

    def _toggle_full_screen(self) -> None:
        self._is_full = not self._is_full
        if self._is_full:
            pygame.display.set_mode((0, 0), pygame.FULLSCREEN)  # as large as the desktop is
        else:
            pygame.display.quit()  # a window that was as large as that stays so under some window managers
            self._open()
        self._fit()

    def _fit(self) -> None:
        """The window may have another size."""
        self.surface = pygame.display.get_surface() or self.surface
        self.painter = Painter(self.surface.get_size())
        self._canvas = Canvas(self.surface, self.painter.background())

    def _way(self, dt: float) -> float:
        """How far down the paddle should go in this frame."""
        if self._bot is not None:
            return self._bot.way(self._player)
        held = pygame.key.get_pressed()
        way = float(any(held[key] for key in DOWN_KEYS) - any(held[key] for key in UP_KEYS))
        way = way or float(self._pressed)
        self._pressed = 0
        for pad in self._pads.values():
            stick = pad.get_axis(1) if pad.get_numaxes() > 1 else 0.0
            cross = -pad.get_hat(0)[1] if pad.get_numhats() else 0
            way += cross + (stick if abs(stick) > DEAD_ZONE else 0.0)
        return max(-1.0, min(1.0, way)) * rules.PADDLE_SPEED * dt
