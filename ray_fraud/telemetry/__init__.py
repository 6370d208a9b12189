"""How every process of the platform records what operators watch."""
