"""What is told to the outside: audit lines, spans, metrics, logs."""
