"""`convnet-kafka top`: readings of replicas and Kafka, figures from two of them, hints from the figures, and how all is shown."""
