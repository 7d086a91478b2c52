"""The data sets in a process's memory, which its lanes share."""

import threading
from collections.abc import Callable
from weakref import WeakValueDictionary

from nas.data.images import ImageSet


class Shelf:
    """The last data set that was read, and those that somebody still uses; each is there once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: ImageSet | None = None
        self._used: WeakValueDictionary[str, ImageSet] = WeakValueDictionary()

    def get(self, name: str, read: Callable[[], ImageSet]) -> tuple[ImageSet, bool]:
        """The data set of that name, and whether it was read just now; whoever comes meanwhile waits for it.

        Raises:
            Exception: whatever `read` raises; then nothing of it is kept.
        """
        with self._lock:
            found = self._used.get(name)
            if found is None:
                self._last = None  # two large ones need not fit into memory
                self._last = self._used[name] = read()
                return self._last, True
            self._last = found
            return found, False
