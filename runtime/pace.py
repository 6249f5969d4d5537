# pyright: basic
"""How many threads are quickest: found by trying."""

from __future__ import annotations


class Pace:
    """Whether a call runs on all threads or on one: as its last trial was quicker.

    A thread that waits for one that does not run, since other processes want the cores, costs more
    than it brings; one that waits for a long step that cannot be shared does not. And of threads
    that pass small things to each other it matters how far apart the cores are, which in a virtual
    machine changes by the minute. Only time tells. So some calls are timed together, then some
    alone; what took less holds for `hold` times as long, and then both are tried again. A long call
    is tried alone only if a thread had to sleep at a barrier.

    A trial may meet with what has nothing to do with threads: the first calls write their results
    to pages that the system has yet to find, and other processes come and go. So one that is for a
    thread alone, after all before were for all threads, is made again before it counts.
    """

    CALLS, SECONDS = 3, 5e-3  # a trial: at least so many calls, and so long; or ten times as long
    LONG = 20e-3  # seconds a call
    DONE = -1

    def __init__(self) -> None:
        self.together = True  # how the next call is made
        self.settled = True  # what the last trial found
        self.doubted = False  # the trial that is under way repeats another
        self.hold = 8
        self.mean = self.spent = 0.0  # of the trial together: seconds a call, and in all
        self._begin(together=True)

    def _begin(self, together: bool) -> None:
        self.together = together
        self.calls, self.timed, self.seconds, self.slept = 0, 0, 0.0, False

    def took(self, seconds: float, slept: bool) -> int:
        """Take note of a call that was made as `together` says.

        Returns 0 while the trial goes on; else how many calls are now to be made as `settled` says,
        unwatched; or DONE: all threads, until one sleeps.
        """
        self.calls += 1
        self.slept |= slept
        if self.calls > 1 or seconds > 10 * self.SECONDS:  # the first one may have woken a thread
            self.seconds += seconds
            self.timed += 1
        few = self.timed < self.CALLS and self.seconds < 10 * self.SECONDS
        if few or self.seconds < self.SECONDS:
            return 0
        mean = self.seconds / self.timed
        if self.together:
            if mean > self.LONG and not self.slept:
                return self.DONE
            self.mean, self.spent = mean, self.seconds
            self._begin(together=False)
            return 0
        faster = self.mean < mean
        self.doubted = self.settled and not faster and not self.doubted
        if self.doubted:
            self._begin(together=True)
            return 0
        # Alone only for a while: it may pass.
        first, most = (16, 256) if faster else (4, 16)
        self.hold = min(2 * self.hold, most) if faster == self.settled else first
        self.settled = faster
        calls = self.hold * (self.spent + self.seconds) / min(self.mean, mean)
        self._begin(together=True)
        return round(calls)
