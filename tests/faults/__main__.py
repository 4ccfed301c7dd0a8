"""``python -m tests.faults``: see ``campaign``, which the processes of a campaign import."""

import sys

from tests.faults.campaign import main

if __name__ == "__main__":
    sys.exit(main())
