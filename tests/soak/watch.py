"""A look at a running process twice a second: memory of its own and open descriptors.

What is judged is the time after the warm-up: caches fill, then both have to stay flat.
"""

import os
import statistics
import threading
import time

WARM_S = 8              # or a third of a short run
GROWTH_MAX_KB = 8192
FDS_MAX = 8


def private_kb(pid):
    """Anonymous resident memory: file mappings of the database do not count."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    return 0


class Watch(threading.Thread):
    """Samples of one process from start() to finish()."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.over = threading.Event()
        self.samples = []       # (seconds, kB, descriptors)

    def run(self):
        began = time.monotonic()
        while not self.over.wait(0.5):
            try:
                self.samples.append((time.monotonic() - began, private_kb(self.pid),
                                     len(os.listdir(f"/proc/{self.pid}/fd"))))
            except OSError:
                return          # it has ended

    def finish(self):
        """(last kB, growth in kB, growth of descriptors) after the warm-up; None when too short."""
        self.over.set()
        self.join()
        if not self.samples:
            return None
        warm = min(WARM_S, self.samples[-1][0] / 3)
        late = [s for s in self.samples if s[0] >= warm]
        part = len(late) // 4
        if part < 2:
            return None
        first, last = late[:part], late[-part:]
        growth = [statistics.median(s[i] for s in last) - statistics.median(s[i] for s in first)
                  for i in (1, 2)]
        return last[-1][1], growth[0], growth[1]


def problems(seen):
    """What is wrong with the result of finish()."""
    if seen and seen[1] > GROWTH_MAX_KB:
        yield f"memory grew by {seen[1]:.0f} kB to {seen[0]} kB after the warm-up"
    if seen and seen[2] > FDS_MAX:
        yield f"{seen[2]:.0f} more descriptors than after the warm-up"
