"""The HTTP ingest server: any number of equal processes in front of Kafka, with no state of their own."""
