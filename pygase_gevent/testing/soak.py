"""Runs simulations for as long as asked, over several processes, and says what came of it."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count, islice
from multiprocessing import get_context, parent_process

from pygase_gevent.testing.options import SimulationOptions, draw_options
from pygase_gevent.testing.simulator import Result, Simulation

SOAK_S = 60.0
"""Virtual seconds with faults, of each run of a soak."""
TWICE_EVERY = 100
"""One seed in so many runs twice, and must leave the same trace."""
PROGRESS_S = 30.0
"""How often it says how far it is, in real seconds."""


@dataclass(slots=True)
class Total:
    """What many runs came to."""

    runs: int = 0
    twice: int = 0
    virtual_s: float = 0.0
    session_s: float = 0.0
    cpu_s: float = 0.0
    datagrams: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Result] = field(default_factory=list)

    def add(self, result: Result, cpu_s: float, is_twice: bool) -> None:
        """One more run."""
        self.runs += 1
        self.twice += is_twice
        self.virtual_s += result.virtual_s
        self.session_s += result.session_s
        self.cpu_s += cpu_s
        self.datagrams += result.datagrams
        self.counts += result.counts
        if result.violation is not None:
            self.violations.append(result)

    def summary(self) -> str:
        """The figures, for people."""
        counts = self.counts
        lines = [
            f"{self.runs} runs, {self.twice} of them twice; {self.virtual_s / 3600:.2f} virtual hours, "
            f"{self.session_s / 3600:.2f} session-hours, {self.datagrams} datagrams",
            f"{self.cpu_s:.0f} s of CPU: {self.virtual_s / max(self.cpu_s, 1e-9):.1f} virtual seconds "
            f"and {self.session_s / max(self.cpu_s, 1e-9):.0f} session-seconds a second",
            f"violations: {len(self.violations)}",
        ]
        for title, prefix in (("lines: ", "line_"), ("attacks: ", "attack_"), ("faults and load: ", "")):
            chosen = {
                kind.removeprefix(prefix): number
                for kind, number in sorted(counts.items())
                if kind.startswith(prefix) and (prefix or not kind.startswith(("line_", "attack_")))
            }
            lines.append(title + ", ".join(f"{kind} {number}" for kind, number in chosen.items()))
        return "\n".join(lines)


def report(result: Result) -> str:
    """A violation, for people."""
    return (
        f"VIOLATION with seed {result.options.seed} at {result.virtual_s:.3f} virtual seconds\n"
        f"  {result.violation}\n  again: {result.replay}"
    )


def run_seed(seed: int, duration_s: float, is_twice: bool = False) -> tuple[Result, float]:
    """Runs one seed; the result, and the CPU seconds it took.

    A run that is made twice and leaves two traces is a violation.
    """
    begun = time.process_time()
    options = draw_options(seed, duration_s)
    result = _run_without_pauses(options)
    result.replay = f"python -m pygase_gevent.testing replay --seed {seed} --duration {duration_s:g}"
    if is_twice and result.violation is None:
        again = _run_without_pauses(options)
        if again.digest != result.digest:
            result.violation = f"two runs, two traces: {result.digest} and {again.digest}"
    return result, time.process_time() - begun


def _run_without_pauses(options: SimulationOptions) -> Result:
    """A run without the collector of cycles, which has little to find and takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return Simulation(options).run()
    finally:
        if was_enabled:
            gc.enable()
        gc.collect()


def _end_with_the_parent() -> None:
    """A worker whose parent was killed would wait for its next seed for ever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="waits for the parent's end", daemon=True).start()


def run_seeds(
    seeds: Iterator[tuple[int, bool]], duration_s: float, jobs: int
) -> Generator[tuple[Result, float, bool], None, None]:
    """Runs seeds, `jobs` at a time in processes of their own, as long as results are asked for."""
    # Spawned ones: a fork would carry this process's threads' locks along.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_end_with_the_parent) as pool:
        running: dict[Future[tuple[Result, float]], bool] = {
            pool.submit(run_seed, seed, duration_s, is_twice): is_twice
            for seed, is_twice in islice(seeds, 2 * jobs)
        }
        try:
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    is_twice = running.pop(future)
                    for seed, twice in islice(seeds, 1):
                        running[pool.submit(run_seed, seed, duration_s, twice)] = twice
                    yield (*future.result(), is_twice)
        finally:
            pool.shutdown(cancel_futures=True)


def soak(session_hours: float, *, jobs: int, seed: int, duration_s: float = SOAK_S) -> Total:
    """Runs seed after seed until so many hours of sessions are simulated; prints how it goes."""
    total = Total()
    seeds = ((number, number % TWICE_EVERY == 0) for number in count(seed))
    said_at = time.monotonic()
    results = run_seeds(seeds, duration_s, jobs)
    try:
        for result, cpu_s, is_twice in results:
            total.add(result, cpu_s, is_twice)
            if result.violation is not None:
                print(report(result), flush=True)
            if time.monotonic() - said_at > PROGRESS_S:
                said_at = time.monotonic()
                print(
                    f"{total.session_s / 3600:.2f} of {session_hours:g} session-hours, {total.runs} runs, "
                    f"{len(total.violations)} violations",
                    file=sys.stderr,
                    flush=True,
                )
            if total.session_s >= session_hours * 3600:
                break
    except KeyboardInterrupt:
        print("interrupted; until here:", flush=True)
    finally:
        results.close()
    print(total.summary(), flush=True)
    return total
