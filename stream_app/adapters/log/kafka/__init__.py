"""The log on Apache Kafka: aiokafka for data, kafka-python for topics and startup checks."""
