"""HTTP, command line and imports: the only code that reads a clock, mints an id, knows a user."""
