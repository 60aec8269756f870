"""Small pictures that are drawn once for a size of the window, and then copied."""

from __future__ import annotations

import pygame

from demos.pong import rules

Colour = tuple[int, int, int]

FINER = 4
"""Drawn so many times larger and scaled down, edges are smooth."""
MIN_TEXT_PX = 11
MAX_TEXTS = 300
PADDLE_WIDTH = 2.4
PADDLE_GLOW = 9.0


class Sprites:
    """Makes them as they are asked for, and keeps them.

    Args:
        scale: pixels per field unit.
    """

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._kept: dict[tuple[object, ...], pygame.Surface] = {}
        self._texts: dict[tuple[object, ...], pygame.Surface] = {}
        self._fonts: dict[int, pygame.font.Font] = {}

    def text(self, text: str, size: float, colour: Colour) -> pygame.Surface:
        """A line of text, `size` field units high; never too small to be read."""
        key = (text, size, colour)
        if key not in self._texts:
            if len(self._texts) >= MAX_TEXTS:
                self._texts.clear()
            height = max(MIN_TEXT_PX, round(size * self._scale))
            if height not in self._fonts:
                self._fonts[height] = pygame.font.Font(None, round(height * 1.15))
            self._texts[key] = self._fonts[height].render(text, True, colour)
        return self._texts[key]

    def disc(self, radius: float, colour: Colour) -> pygame.Surface:
        """A filled circle."""
        key = ("disc", radius, colour)
        if key not in self._kept:
            size = max(3, round(2 * radius * self._scale))
            large = pygame.Surface((size * FINER, size * FINER), pygame.SRCALPHA)
            large.fill((*colour, 0))
            pygame.draw.circle(large, colour, (size * FINER / 2, size * FINER / 2), size * FINER / 2)
            self._kept[key] = pygame.transform.smoothscale(large, (size, size))
        return self._kept[key]

    def glow(self, radius: float, colour: Colour, strength: float) -> pygame.Surface:
        """A spot of light, to be added to what is there."""
        key = ("glow", radius, colour, strength)
        if key not in self._kept:
            size = max(4, round(2 * radius * self._scale))
            spot = pygame.Surface((size, size))
            for step in range(size // 2, 0, -1):
                light = strength * (1.0 - step / (size / 2)) ** 2
                pygame.draw.circle(spot, dimmed(colour, light), (size / 2, size / 2), step)
            self._kept[key] = spot
        return self._kept[key]

    def spot(self, radius: float, colour: Colour, strength: float) -> pygame.Surface:
        """A disc of light with an edge, to be added."""
        key = ("spot", radius, colour, strength)
        if key not in self._kept:
            disc = self.disc(radius, dimmed(colour, strength))
            self._kept[key] = spot = pygame.Surface(disc.get_size())
            spot.blit(disc, (0, 0))
        return self._kept[key]

    def paddle(self, colour: Colour) -> pygame.Surface:
        """A paddle with round ends."""
        key = ("paddle", colour)
        if key not in self._kept:
            size = (round(PADDLE_WIDTH * self._scale), round(rules.PADDLE_HEIGHT * self._scale))
            large = pygame.Surface((size[0] * FINER, size[1] * FINER), pygame.SRCALPHA)
            large.fill((*colour, 0))
            pygame.draw.rect(large, colour, large.get_rect(), border_radius=size[0] * FINER // 2)
            self._kept[key] = pygame.transform.smoothscale(large, size)
        return self._kept[key]

    def paddle_glow(self, colour: Colour) -> pygame.Surface:
        """The light around a paddle, to be added."""
        key = ("paddle glow", colour)
        if key not in self._kept:
            round_glow = self.glow(PADDLE_GLOW, colour, 0.35)
            size = (round(0.9 * PADDLE_GLOW * self._scale), round(1.6 * rules.PADDLE_HEIGHT * self._scale))
            self._kept[key] = pygame.transform.smoothscale(round_glow, size)
        return self._kept[key]


def dimmed(colour: Colour, strength: float) -> Colour:
    """A colour nearer to black; 1 leaves it as it is."""
    red, green, blue = (max(0, min(255, round(part * strength))) for part in colour)
    return red, green, blue
