"""Publishes one event over TLS with nats-py: nats_tls.py URL CA CERTIFICATE KEY

The login is in the URL. Fails if the broker does not confirm the event, or confirms what the user may not do.
"""

import asyncio
import json
import ssl
import sys
from urllib.parse import urlsplit

import nats
from nats.errors import TimeoutError as NoAnswer

url, ca, certificate, key = sys.argv[1:]


async def main():
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    login = urlsplit(url)
    client = await nats.connect(
        f"tls://{login.hostname}:{login.port}",
        user=login.username,
        password=login.password,
        tls=context,
        inbox_prefix="_INBOX_publisher",
    )
    stream = client.jetstream()
    event = {
        "topic": "python",
        "event_id": "1",
        "timestamp": "2026-01-31T12:00:00Z",
        "source": "nats-py",
        "payload": {},
    }
    await stream.publish("events.python", json.dumps(event).encode())
    try:
        await client.request("$JS.API.STREAM.PURGE.EVENTS", b"", timeout=1)
    except NoAnswer:
        pass
    else:
        sys.exit("the publisher may purge the stream")
    await client.close()


asyncio.run(main())
