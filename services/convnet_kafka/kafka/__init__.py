"""A thin layer on confluent-kafka: connections, topics, an acknowledging producer, group and partition readers.

Nothing here knows what an image is.
"""
