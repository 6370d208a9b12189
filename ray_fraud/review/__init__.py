"""The pages on which analysts review alerts.

Never: a write other than a verdict.
"""
