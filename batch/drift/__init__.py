"""How far the last day is from what the models were trained on, and whether verdicts come in time."""
