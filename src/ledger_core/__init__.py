"""The rules and the log of a double-entry ledger. Knows no HTTP and no read model."""
