"""Floor 0: values and rules. Standard library only; no await, clock, environment, log or protobuf."""
