"""A screen of which only what changes is drawn and shown: all else costs a processor without a GPU most."""

from __future__ import annotations

import pygame

NEAR_PX = 24
"""Areas that are as near as this to each other are treated as one."""
EDGE_PX = 2
"""So far beyond its bounds a smooth edge may reach."""

Colour = tuple[int, int, int] | pygame.Color
Points = list[tuple[float, float]]


class Canvas:
    """Draws like pygame, onto a background that comes back where nothing is drawn the next time.

    Args:
        surface: the display's.
        background: of the same size.
    """

    def __init__(self, surface: pygame.Surface, background: pygame.Surface) -> None:
        self.surface = surface
        self._background = background
        self._old_areas: list[pygame.Rect] = []
        self._areas = [surface.get_rect()]  # all of it at first

    def begin(self) -> None:
        """Another picture: what the last one drew goes."""
        self._old_areas, self._areas = self._areas, []
        for area in self._old_areas:
            self.surface.blit(self._background, area, area)

    def show(self) -> None:
        """The picture is finished."""
        pygame.display.update(self._old_areas + self._areas)

    def spoil(self) -> None:
        """The screen has lost what it showed: all of it is drawn again."""
        self._areas = [self.surface.get_rect()]

    def clip(self, rect: pygame.Rect | None) -> None:
        """Nothing is drawn outside of it, until another call."""
        self.surface.set_clip(rect)

    def blit(self, sprite: pygame.Surface, rect: pygame.Rect, flags: int = 0) -> None:
        self._mark(self.surface.blit(sprite, rect, special_flags=flags))

    def fill(self, colour: Colour, rect: pygame.Rect, flags: int = 0) -> None:
        self._mark(self.surface.fill(colour, rect, flags))

    def circle(self, colour: Colour, centre: tuple[int, int], radius: int, width: int = 0) -> None:
        """One of smooth edges if it is filled."""
        if width:
            self._mark(pygame.draw.circle(self.surface, colour, centre, radius, width))
        else:
            self._mark(pygame.draw.aacircle(self.surface, colour, centre, radius))

    def box(self, colour: Colour, rect: pygame.Rect, width: int = 0, radius: int = 0) -> None:
        """A rectangle, perhaps with round corners."""
        self._mark(pygame.draw.rect(self.surface, colour, rect, width, border_radius=radius))

    def lines(self, colour: Colour, points: Points, width: int) -> None:
        self._mark(pygame.draw.lines(self.surface, colour, False, points, width))

    def _mark(self, area: pygame.Rect) -> None:
        """Remembers that something was drawn there."""
        if area.width and area.height:
            area = area.inflate(EDGE_PX, EDGE_PX)
            near = area.inflate(NEAR_PX, NEAR_PX).collidelist(self._areas)
            if near < 0:
                self._areas.append(area)
            else:
                self._areas[near].union_ip(area)
