"""Sounds, made of waves here; silence where there is no audio device."""

from __future__ import annotations

import contextlib
import math
import os
from array import array
from collections.abc import Iterator

import pygame

from demos.pong.scene import Hit

RATE_HZ = 44_100
VOLUME = 0.25
TONES = {  # frequencies in Hz, one after the other, and the seconds of each
    "paddle": ((523.0,), 0.07),
    "wall": ((262.0,), 0.05),
    "point": ((392.0, 311.0, 233.0), 0.09),
    "go": ((784.0,), 0.12),
}


class Sounds:
    """Plays what is heard in a frame.

    Attributes:
        is_muted: nothing is to be heard.
        has_device: whether anything can be.
    """

    def __init__(self, *, is_muted: bool = False) -> None:
        self.is_muted = is_muted
        self.has_device = True
        try:
            with _quiet_drivers():
                pygame.mixer.init(RATE_HZ, -16, 1, 256)
        except pygame.error:  # no audio device
            self.has_device = False
            return
        self._sounds = {kind: pygame.mixer.Sound(buffer=wave(*tone)) for kind, tone in TONES.items()}

    def play(self, hits: list[Hit], *, is_serve: bool) -> None:
        """Lets a frame's hits be heard, and a serve."""
        kinds = {hit.kind for hit in hits} | ({"go"} if is_serve else set())
        if self.has_device and not self.is_muted:
            for kind in kinds:
                self._sounds[kind].play()


def wave(frequencies: tuple[float, ...], seconds: float) -> bytes:
    """Tones one after the other as 16-bit samples: a soft square wave that dies away."""
    samples = array("h")
    count = round(RATE_HZ * seconds)
    for frequency in frequencies:
        for index in range(count):
            turn = 2 * math.pi * frequency * index / RATE_HZ
            tone = math.sin(turn) + math.sin(3 * turn) / 3 + math.sin(5 * turn) / 5
            fade = (1.0 - index / count) ** 2 * min(1.0, index / 60)
            samples.append(int(32_000 * VOLUME * tone * fade))
    return samples.tobytes()


@contextlib.contextmanager
def _quiet_drivers() -> Iterator[None]:
    """ALSA's library writes to the standard error of a machine that has no sound card."""
    keep, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(keep, 2)
        os.close(keep)
        os.close(nowhere)
