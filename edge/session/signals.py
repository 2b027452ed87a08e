"""What others tell an agent that runs: SIGTERM and SIGINT to end it in order, SIGHUP to read its configuration anew."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Signals:
    """Handlers only set flags: the loop looks at them."""

    stopping = reloading = False

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """In the main thread; handlers of before come back at the end."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.stopping = True

        def reload(_number: int, _frame: FrameType | None) -> None:
            self.reloading = True

        wanted = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
