"""Generates a client from an aggregator's own document, publishes with it and reads the responses.

generated.py URL openapi-python-client
generated.py URL openapi-generator JAVA
"""

import datetime
import importlib
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

NOW = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc)


def generate(command):
    """Runs a generator, which must succeed."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def with_openapi_python_client(url, document, directory):
    """A client of openapi-python-client."""
    client_of = directory / "client"
    program = pathlib.Path(sys.executable).parent / "openapi-python-client"
    generate([program, "generate", "--path", document, "--output-path", client_of])
    sys.path.insert(0, str(client_of))
    package = "event_aggregator_client"
    for file in (client_of / package).rglob("*.py"):
        importlib.import_module(
            ".".join(file.relative_to(client_of).with_suffix("").parts)
        )
    models = importlib.import_module(f"{package}.models")
    client = importlib.import_module(package).Client(base_url=url)
    publish = importlib.import_module(f"{package}.api.publish.post_publish").sync
    importlib.import_module(f"{package}.api.publish.post_cloudevents")
    read = importlib.import_module(f"{package}.api.events.get_events").sync

    def event(event_id):
        fields = {
            "topic": "clients.a",
            "event_id": event_id,
            "timestamp": NOW.isoformat(),
            "source": "generated",
            "payload": {"n": 1},
        }
        return models.Event.from_dict(fields)

    wait = models.PostPublishWait("stored")
    one = publish(client=client, body=event("1"), wait=wait)
    assert isinstance(one, models.Accepted), one
    two = publish(client=client, body=[event("1"), event("2")], wait=wait)
    plain = publish(client=client, body=event("2"))
    outcomes = [(each.outcome.value, each.sequence) for each in two.outcomes]
    assert not plain.outcome and not plain.sequence and not plain.outcomes, plain
    events = read(client=client, topic=["clients.a"]).events
    return plain.received, (one.outcome.value, one.sequence), outcomes, events


def with_openapi_generator(url, document, directory, java):
    """A client of openapi-generator for Python."""
    package = importlib.import_module("openapi_generator_cli")
    jar = pathlib.Path(package.__file__).parent / "openapi-generator.jar"
    client_of = directory / "client"
    command = [java, "-jar", jar, "generate", "-g", "python"]
    generate([*command, "-i", document, "-o", client_of])
    sys.path.insert(0, str(client_of))
    client = importlib.import_module("openapi_client")
    api = client.ApiClient(client.Configuration(host=url))
    publishing = client.PublishApi(api)

    def event(event_id):
        return client.Event(
            topic="clients.b",
            event_id=event_id,
            timestamp=NOW,
            source="generated",
            payload={"n": 1},
        )

    one = publishing.post_publish(client.Events(event("1")), wait="stored")
    both = client.Events([event("1"), event("2")])
    two = publishing.post_publish(both, wait="stored")
    plain = publishing.post_publish(client.Events(event("2")))
    outcomes = [(str(each.outcome.value), each.sequence) for each in two.outcomes]
    assert plain.outcome is None and plain.outcomes is None, plain
    events = client.EventsApi(api).get_events(topic=["clients.b"]).events
    return plain.received, (str(one.outcome.value), one.sequence), outcomes, events


def main(url, generator, *arguments):
    """Publishes an event; that event and a second one; then the second one again without waiting."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        document = directory / "openapi.json"
        with urllib.request.urlopen(f"{url}/openapi.json") as answer:
            document.write_bytes(answer.read())
        client = {
            "openapi-python-client": with_openapi_python_client,
            "openapi-generator": with_openapi_generator,
        }[generator]
        received, one, two, events = client(url, document, directory, *arguments)
    assert received == 1, received
    assert one[0] == "stored" and one[1] > 0, one
    assert two[0] == ("duplicate", one[1]), two
    assert two[1] == ("stored", one[1] + 1), two
    assert [event.event_id for event in events] == ["2", "1"], events


main(*sys.argv[1:])
