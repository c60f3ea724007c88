"""What requests mean: an operator's catalog file in, `Hop` for each request out."""
