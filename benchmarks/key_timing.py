"""Does it take longer to refuse a wrong key of which more is right? Says so in nanoseconds.

``python -m benchmarks.key_timing``. Wrong secrets that share 0, 32 and 63 of 64 characters with the
right one, and keys that are not there at all, are judged in turn, many times, in an order that
changes from round to round; what is compared are the medians. Differences as large as between two
runs of the same kind ("right for 0", twice) are noise.
"""

import random
import statistics
import time

from api import api_keys, clock
from api.api_keys import ApiKey, PresentedKey, _hash

ROUNDS = 40_000
SERVER_SECRET = b"S" * 32
KEY_ID = "0123456789abcdef"


def main() -> None:
    """Measure, and print a line for each kind of wrong key."""
    text = "5f" * 32
    key = ApiKey(
        1, KEY_ID, _hash(SERVER_SECRET, text), "reader", "x", clock.now(), None, None
    )  # fmt: skip
    kinds: dict[str, tuple[ApiKey | None, PresentedKey]] = {}
    for name, shared in (("right for 0", 0), ("right for 0 again", 0), ("right for 32", 32),
                         ("right for 63", 63)):  # fmt: skip
        wrong = text[:shared] + "0" + ("a" * (63 - shared))
        kinds[name] = (key, PresentedKey(1, KEY_ID, wrong))
    kinds["no key of that id"] = (None, PresentedKey(1, KEY_ID, text))
    taken: dict[str, list[int]] = {name: [] for name in kinds}
    order = list(kinds)
    for _ in range(ROUNDS):
        random.shuffle(order)
        for name in order:
            found, presented = kinds[name]
            begun = time.perf_counter_ns()
            api_keys.matches(found, presented, SERVER_SECRET)
            taken[name].append(time.perf_counter_ns() - begun)
    for name, samples in taken.items():
        quarter = statistics.quantiles(samples, n=4)
        print(f"{name:18} median {quarter[1]:7.0f} ns, first quarter {quarter[0]:7.0f} ns")


if __name__ == "__main__":
    main()
