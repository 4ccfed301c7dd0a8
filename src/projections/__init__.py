"""Read models: tables kept up to date from the log, and the queries on them."""
