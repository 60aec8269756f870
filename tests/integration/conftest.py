"""What holds for every integration test: no errors logged, no traceback printed, nothing left running."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from .support import eventually


@pytest.fixture(autouse=True)
def clean(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Fails a test that logged an error, printed a traceback or left a thread of the library behind."""
    threads_before = set(threading.enumerate())
    yield
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    errors = [record.getMessage() for record in records if record.levelno >= logging.ERROR]
    assert not errors
    assert "Traceback" not in capfd.readouterr().err

    def left() -> list[threading.Thread]:
        return [
            thread
            for thread in threading.enumerate()
            if thread not in threads_before and thread.name.startswith("pygase") and thread.is_alive()
        ]

    eventually(lambda: not left(), lambda: f"still running: {left()}")
