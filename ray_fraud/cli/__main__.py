"""`python -m ray_fraud.cli`."""

from ray_fraud.cli import main

main()
