"""Seeds for independent streams of random numbers, derived from a job's seed."""

import zlib

import numpy as np


def derive(seed: int, *path: int | str) -> int:
    """A seed in 0..2**32-1 for the stream named by `path`; different paths give independent streams.

    numpy's SeedSequence does the mixing (O'Neill 2015); names enter it by their CRC, which is stable across processes.
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in path]
    return int(np.random.SeedSequence([seed, len(words), *words]).generate_state(1)[0])
