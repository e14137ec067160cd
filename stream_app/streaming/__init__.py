"""The running application, whatever the log: shards, learner, ticks, state and recovery."""
