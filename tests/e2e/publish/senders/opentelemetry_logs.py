"""Sends log records with the OpenTelemetry SDK: opentelemetry_logs.py URL protobuf|json

The same records each time. Fails if the exporter reports that they were not accepted.
"""

import sys

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.resources import Resource

url, encoding = sys.argv[1:]
if encoding == "protobuf":
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
else:
    from opentelemetry.exporter.otlp.json.http._log_exporter import Compression, OTLPLogExporter


class Checked(OTLPLogExporter):
    def export(self, batch):
        result = super().export(batch)
        failed.extend([] if result is LogRecordExportResult.SUCCESS else [result])
        return result


failed = []
resource = Resource({"service.name": "sdk.orders", "service.instance.id": "one", "pid": 7, "ratio": 0.1})
provider = LoggerProvider(resource=resource)
exporter = Checked(endpoint=url + "/v1/logs", compression=Compression("gzip"))
provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
logger = provider.get_logger("orders", "1.0", attributes={"scope": True})

START = 1_767_225_600_000_000_001
BODIES = ["text ä €", 42, 0.1, True, {"deep": {"n": [1, "two", None]}}, b"\x00\xff", None]
for number in range(20):
    attributes = {"http.method": "GET", "n": number, "list": ["a", "b"], "bytes": b"\x01"}
    # Half of them have an id of their own, the others are identified by their content.
    if number % 2 == 0:
        attributes["log.record.uid"] = f"01J{number:023}"
    logger.emit(
        LogRecord(
            timestamp=START + number,
            observed_timestamp=START + 1_000,
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            body=BODIES[number % len(BODIES)],
            attributes=attributes,
            event_name="order.placed" if number % 3 == 0 else None,
        )
    )
provider.force_flush()
provider.shutdown()
sys.exit(f"not accepted: {failed}" if failed else 0)
