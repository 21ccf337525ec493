"""Everything on this machine: a real Apache Kafka from pinned jars, and the stack built on it."""
