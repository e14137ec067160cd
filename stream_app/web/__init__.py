"""The read side: a model of the topics, the HTTP API over it, and the live page."""
