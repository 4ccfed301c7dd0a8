"""``python -m ledger_verify``."""

import sys

from ledger_verify.cli import main

sys.exit(main())
