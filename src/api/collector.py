"""When Python looks for garbage that reference counts do not free: rarely, in a long program.

A batch, or the requests of one transaction, hold more objects at once than Python's default allows
between two looks, so that each would be looked at many times before it is done with: a sixth of
the writer's time.
"""

import gc

# Objects made and not freed before the youngest are looked at: some thousand commands at a time.
YOUNG_MAX = 20_000


def tune() -> None:
    """Look rarely, and never again at what is there already: call this when all is imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX)
