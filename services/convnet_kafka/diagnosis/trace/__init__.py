"""`convnet-kafka trace`: the way of one image, or of a job's images, as it lies in Kafka."""
