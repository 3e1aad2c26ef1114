"""Sends CloudEvents with their SDK: cloudevents_sdk.py URL binary|structured

The same events each time, with the token in SENDER_TOKEN if there is one. Fails if one is not accepted.
"""

import os
import sys
from datetime import datetime, timezone

import requests
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

url, mode = sys.argv[1:]
convert = {"binary": to_binary_event, "structured": to_structured_event}[mode]

DATA = [{"amount": 1.5, "text": "ä €"}, [1, 2], None]
for number in range(12):
    attributes = {
        "type": "sdk.order",
        "source": "/shop/ä" if number % 2 else "urn:shop:" + "x" * 300,
        "id": str(number),
        "subject": 'Euro € 😀 "quoted" 100%',
        "datacontenttype": "application/json",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        # By default the SDK would use the current time, which differs each time.
        "time": datetime(2026, 1, 31, 12, 0, number, tzinfo=timezone.utc),
    }
    message = convert(CloudEvent(attributes=attributes, data=DATA[number % len(DATA)]))
    headers = dict(message.headers)
    if token := os.environ.get("SENDER_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    answer = requests.post(url + "/cloudevents", headers=headers, data=message.body, timeout=30)
    if not answer.ok:
        sys.exit(f"{answer.status_code} {answer.text}")
