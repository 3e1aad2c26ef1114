"""A consumer as a Python developer would write it, which bench.sh --peer measures: FastStream and SQLite.

Each message is an array of up to 1,000 events. It is stored in one transaction, duplicates are ignored, and the message is
acked after the commit. As in the aggregator, the commit waits for the disk.

Usage: peer.py NATS_URL DATABASE EVENTS. Prints the measurement as JSON once EVENTS events have been received.
"""

import asyncio
import json
import sqlite3
import sys
import time
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, PullSub
from pydantic import BaseModel

nats_url, path, expected = sys.argv[1], sys.argv[2], int(sys.argv[3])

database = sqlite3.connect(path)
database.executescript("""
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS events (
        topic TEXT NOT NULL,
        event_id TEXT NOT NULL,
        timestamp TEXT NOT NULL,
        source TEXT NOT NULL,
        payload TEXT NOT NULL,
        PRIMARY KEY (topic, event_id)
    );
""")
broker = NatsBroker(nats_url, logger=None)
app = FastStream(broker, logger=None)
received, stored, started = 0, 0, None


class Event(BaseModel):
    topic: str
    event_id: str
    timestamp: str
    source: str
    payload: dict[str, Any]

    def row(self) -> tuple[str, str, str, str, str]:
        return self.topic, self.event_id, self.timestamp, self.source, json.dumps(self.payload)


@broker.subscriber(
    "events",
    durable="peer",
    stream=JStream("EVENTS", declare=False),
    pull_sub=PullSub(batch_size=4),
    ack_policy=AckPolicy.NACK_ON_ERROR,
)
async def store(events: list[Event]) -> None:
    global received, stored, started
    started = started or time.monotonic()
    with database:
        rows = [event.row() for event in events]
        inserted = database.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)", rows)
    received += len(events)
    stored += inserted.rowcount
    if received == expected:
        seconds = time.monotonic() - started
        result = {"received": received, "stored": stored, "events_per_second": round(received / seconds)}
        print(json.dumps(result, separators=(",", ":")), flush=True)


asyncio.run(app.run())
