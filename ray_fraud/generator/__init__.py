"""Made-up customers, merchants and frauds, as transactions with ground truth.

The pure part (population, scenarios, stream, encode) turns a seed and a start time into transactions;
the thin part (send, load) puts them on Kafka at an exact rate.

Never: a clock or an unseeded random draw in the pure part.
"""
