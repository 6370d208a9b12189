"""Ray actors: thin shells that move data between stores and the domain."""
