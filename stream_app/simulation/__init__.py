"""A shop whose customers are known to the last parameter: event logs with their truth, to play with and to judge by."""
