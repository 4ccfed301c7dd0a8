"""Checks what a ledger exports, trusting nothing of the ledger's own program.

Depends on ``cryptography`` and the standard library alone, and shares no code with the ledger: the
formats are those of docs/formats.md, written down for whoever wants to write another verifier.
"""
