#!/usr/bin/env python3
"""Drains usage counts from Redis into PostgreSQL: each use is counted once, whatever dies meanwhile.

    psql -d billing -f schema.sql
    ./drain.py --redis redis://localhost:6379/0 --postgres dbname=billing

It leases a batch of counts, writes it in one transaction, and acknowledges it once that is committed. A
batch that was not acknowledged in time is leased again, with the same line ids; usage_line has those as
its primary key, and only lines that are new there are added to the totals. So it may be killed at any
point, and any number of these may run at once. What a crash between two steps costs:

    before LEASE has replied     nothing; a batch that was made comes again when its lease is over
    before COMMIT                nothing; PostgreSQL rolls back, and the batch comes again
    between COMMIT and ACK       nothing; the batch comes again, and no line of it is new
    after ACK                    nothing; it is settled

It stands on what either side has promised to keep: a COMMIT (synchronous_commit on, the default), and a
LEASE or ACK that Redis has replied (appendfsync always; against a failover, WAIT after the LEASE). An ACK
that Redis forgets costs nothing: the batch comes again. A LEASE that it forgets, or that a restored backup
never knew, does: its counts come again under other ids, and what was committed of them is counted twice.

A line has to stay in usage_line for as long as it can come again: until its batch is acknowledged, and then
for as long as another drain.py may hold it in memory or Redis may go back behind the ACK. If a week covers
that, then once a day

    DELETE FROM usage_line WHERE written_at < now() - interval '7 days'

but only while oldest_lease_ms of APIKEY.HEALTH is less than a week: then no open batch is as old as the
lines that go. In a cluster, run one drain.py for each primary, and ask each of them before deleting.

Needs redis-py and psycopg 3 (Debian: python3-redis, python3-psycopg).
"""

import argparse
import logging
import time

import psycopg
import redis

WRITE = """
    WITH given AS (
        SELECT * FROM unnest(%(lines)s::text[], %(keys)s::bytea[], %(counts)s::bigint[], %(last_uses)s::bigint[])
            AS t (line, key, count, last_used_ms)
    ), new AS (
        INSERT INTO usage_line (line, batch, key, count)
        SELECT line, %(batch)s, key, count FROM given
        ON CONFLICT DO NOTHING
        RETURNING line, key, count
    ), added AS (
        INSERT INTO usage_total (key, total, last_used_at)
        -- Everyone takes the locks of the totals in the same order.
        SELECT new.key, sum(new.count), to_timestamp(max(last_used_ms) / 1000.0)
        FROM new JOIN given USING (line) GROUP BY new.key ORDER BY new.key
        ON CONFLICT (key) DO UPDATE SET
            total = usage_total.total + excluded.total,
            last_used_at = greatest(usage_total.last_used_at, excluded.last_used_at)
    )
    SELECT count(*) FROM new
"""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds before trying again after an error


class Consumer:
    def __init__(self, counters, database, options):
        self.counters = counters
        self.database = database
        self.options = options

    def drain(self):
        """Hands over what one LEASE gives; false where that is nothing."""
        batches = self.lease()
        for batch, lines in batches:
            new = self.write(batch, lines)
            self.ack(batch)
            logging.info("batch %s: %d lines, %d new", batch.decode(), len(lines), new)
        return bool(batches)

    def lease(self):
        """Batches of lines, each the line's id, the counter's key, the count and the last use in epoch ms."""
        ms, count = self.options.lease_ms, self.options.count
        return self.counters.execute_command("APIKEY.USAGE.LEASE", ms, "COUNT", count)

    def write(self, batch, lines):
        """Commits a batch and returns how many of its lines were not there yet."""
        values = {
            "batch": batch.decode(),
            "lines": [line.decode() for line, *_ in lines],
            "keys": [key for _, key, *_ in lines],
            "counts": [count for _, _, count, *_ in lines],
            "last_uses": [last_use for _, _, _, last_use, *_ in lines],
        }
        with self.database.transaction():
            return self.database.execute(WRITE, values).fetchone()[0]

    def ack(self, batch):
        # Fewer lines than the batch had, or none: deleted meanwhile, or acknowledged by another.
        self.counters.execute_command("APIKEY.USAGE.ACK", batch)


def run(options):
    counters = redis.Redis.from_url(options.redis, socket_timeout=30)  # it reconnects by itself
    pause = FIRST_PAUSE
    while True:
        try:
            with psycopg.connect(options.postgres, autocommit=True) as database:
                consumer = Consumer(counters, database, options)
                while True:
                    drained = consumer.drain()
                    pause = FIRST_PAUSE
                    if not drained and options.once:
                        return
                    if not drained:
                        time.sleep(options.interval)
        except (redis.RedisError, psycopg.Error) as error:
            # Nothing is lost: what was not acknowledged comes again.
            if options.once:
                raise
            logging.warning("%s; again in %.1f s", str(error).strip(), pause)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def main():
    about = __doc__.split("\n", 1)[0]
    options = argparse.ArgumentParser(
        description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("--redis", metavar="URL", default="redis://localhost:6379")
    options.add_argument("--postgres", metavar="DSN", default="", help="as libpq has it")
    options.add_argument(
        "--lease-ms", type=int, default=60000, help="more than writing a batch ever takes"
    )
    options.add_argument("--count", type=int, default=1000, help="lines of a batch")
    options.add_argument(
        "--interval", type=float, default=1.0, help="seconds to wait where nothing is pending"
    )
    options.add_argument(
        "--once", action="store_true", help="end when nothing is pending, or on an error"
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    run(options.parse_args())


if __name__ == "__main__":
    main()
