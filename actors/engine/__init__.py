"""The hot path of one partition without Ray and without threads: steps over ports.

A shell (`actors.partition`) drives the steps from threads; a simulation drives the same steps one by
one, with faults between them.
"""
