"""When a failed call is worth another try, and after how long."""

from __future__ import annotations

import dataclasses
import random
import time

from . import errors

_OURS_TO_MEND = ("OFFSET_GAP",)  # the next try asks where to go on, so another try helps


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """How often and how patiently a call is tried. An ingest starts to count anew whenever something was committed."""

    max_attempts: int = 8
    first_delay: float = 0.1  # seconds; doubles with each try, give or take a fifth
    max_delay: float = 5.0  # seconds
    max_server_delay: float = 120.0  # a server that asks for more patience than this is not waited for

    def is_retryable(self, error: errors.IlreError) -> bool:
        if isinstance(error, errors.UnavailableError):
            return True
        if isinstance(error, errors.ResourceExhaustedError):  # a full quota comes without a delay: waiting is no help
            return error.retry_delay is not None
        if isinstance(error, errors.AbortedError):
            return error.reason != "ETAG_MISMATCH"
        return error.reason in _OURS_TO_MEND


NO_RETRIES = RetryPolicy(max_attempts=1)


class Attempts:
    """The tries of one call. timeout: seconds for all of them; None: no limit."""

    def __init__(self, policy: RetryPolicy, timeout: float | None) -> None:
        self._policy = policy
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._failed = 0

    def remaining(self) -> float | None:
        """Seconds that the next try may take."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def progressed(self) -> None:
        self._failed = 0

    @property
    def is_first(self) -> bool:
        return self._failed == 0

    def delay_after(self, error: errors.IlreError) -> float:
        """Seconds to wait before the next try. Raises `error` if there shall be none."""
        if not self._policy.is_retryable(error) or self._failed + 1 >= self._policy.max_attempts:
            raise error
        self._failed += 1
        delay = min(self._policy.max_delay, self._policy.first_delay * 2 ** (self._failed - 1))
        delay *= random.uniform(0.8, 1.2)
        if error.retry_delay is not None:
            if error.retry_delay > self._policy.max_server_delay:
                raise error
            delay = max(delay, error.retry_delay)
        remaining = self.remaining()
        if remaining is not None and delay >= remaining:
            raise error
        return delay
