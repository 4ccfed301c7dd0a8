"""The controls: what PostgreSQL itself does on this machine, in this minute.

C: COPY of the bytes of real events into a table with the primary key alone, 1,000 rows a
transaction. I: durable INSERT of one row a transaction, 16 clients.
"""

import threading
import time
from statistics import median

import psycopg

COPY_ROWS = 1_000
INSERT_CLIENTS = 16


def copy_rate(url: str, rows: list[str], rounds: int) -> float:
    """Rows a second of C: the median over ``rounds`` of as many transactions as ``rows`` fill."""
    rates: list[float] = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS bench_copy")
        connection.execute(
            "CREATE TABLE bench_copy (ledger_id integer, position bigint, recorded_at timestamptz,"
            " type text, version smallint, tags text[], command_key text, actor text, data json,"
            " leaf_hash bytea, PRIMARY KEY (ledger_id, position))"
        )
        offset = 0
        for _ in range(rounds):
            started = time.perf_counter()
            for first in range(0, len(rows), COPY_ROWS):
                chunk = rows[first : first + COPY_ROWS]
                text = "".join(
                    f"1\t{offset + first + index}\t{row}" for index, row in enumerate(chunk, 1)
                )
                with (
                    connection.transaction(),
                    connection.cursor() as cursor,
                    cursor.copy("COPY bench_copy FROM STDIN") as copy,
                ):
                    copy.write(text)
            rates.append(len(rows) / (time.perf_counter() - started))
            offset += len(rows)
        connection.execute("DROP TABLE bench_copy")
    return median(rates)


def insert_rate(url: str, seconds: float) -> float:
    """Transactions a second of I."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS bench_insert")
        connection.execute(
            "CREATE TABLE bench_insert (client integer, n bigint, payload text,"
            " PRIMARY KEY (client, n))"
        )
    counts = [0] * INSERT_CLIENTS
    stop = threading.Event()

    def client(number: int) -> None:
        """Insert one row a transaction until told to stop."""
        with psycopg.connect(url, autocommit=True) as own:
            while not stop.is_set():
                own.execute(
                    "INSERT INTO bench_insert VALUES (%s, %s, %s)",
                    (number, counts[number], "x" * 200),
                )
                counts[number] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(INSERT_CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE bench_insert")
    return sum(counts) / elapsed
