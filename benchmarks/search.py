"""The largest number of clients that a server carries."""

from __future__ import annotations

from collections.abc import Callable

GROWTH = 1.25
RESOLUTION = 0.03


def largest(
    holds: Callable[[int], bool],
    guess: int,
    *,
    resolution: float = RESOLUTION,
    limit: int = 8000,
    questions: int = 30,
) -> int:
    """The largest number that `holds`, within `resolution`; 0 where not even 1 does.

    Goes up or down from the guess by a growing factor until one number holds and one does not, then halves
    what is between them.

    Args:
        holds: asked about a number; the answers are taken to be monotonous.
        guess: where to begin.
        resolution: share of the number that may be left between the two.
        limit: no number above is asked about.
        questions: so many are asked at the most; once one number holds no more than that.
    """
    low, high = 0, limit + 1
    number, factor = max(1, min(guess, limit)), GROWTH
    while low < number < high and (low == 0 or (high == limit + 1 and questions > 0)):
        questions -= 1
        if holds(number):
            low = number
            number = min(limit, max(number + 1, int(number * factor)))
        else:
            high = number
            number = max(low + 1, int(number / factor)) if number > 1 else 0
        factor *= factor**0.5
    while high - low > max(1, round(low * resolution)) and questions > 0:
        questions -= 1
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low
