"""What schemathesis cannot generate from a schema: bodies in other formats than JSON."""

import datetime
import json

import schemathesis
from hypothesis import strategies as st

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
EVENTS = st.fixed_dictionaries(
    {
        "topic": NAMES,
        "event_id": NAMES,
        "timestamp": st.just("2026-01-31T12:00:00Z"),
        "source": NAMES,
        "payload": st.dictionaries(NAMES, st.integers() | NAMES, max_size=3),
    }
)

# Times in headers.
schemathesis.openapi.format(
    "rfc3339",
    st.datetimes(
        min_value=datetime.datetime(1970, 1, 1),
        timezones=st.just(datetime.timezone.utc),
    ).map(datetime.datetime.isoformat),
)

schemathesis.openapi.media_type(
    "application/x-ndjson",
    st.lists(EVENTS, min_size=1, max_size=5).map(
        lambda events: "\n".join(map(json.dumps, events)).encode()
    ),
)

# Requests for logs: none, one empty record, and one with a text of 7 bytes.
schemathesis.openapi.media_type(
    "application/x-protobuf",
    st.sampled_from(
        [
            b"",
            b"\x0a\x04\x12\x02\x12\x00",
            b"\x0a\x0f\x12\x0d\x12\x0b\x2a\x09\x0a\x07no tea!",
        ]
    ),
)


@schemathesis.deserializer("application/x-ndjson")
def lines(_context, response):
    """An NDJSON response is text, with JSON on each line."""
    text = response.content.decode()
    for line in text.split("\n")[:-1]:
        json.loads(line)
    return text


@schemathesis.deserializer("application/x-protobuf")
def message(_context, response):
    """A Protobuf response is bytes, returned here as hexadecimal text."""
    return response.content.hex()
