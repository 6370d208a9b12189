"""From a file of verdicts and chargebacks to the record of verdicts: every row once."""
