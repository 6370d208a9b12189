"""Measuring the platform on its local stack, from outside: what `ray-fraud bench` and `demo` report.

Never: a measurement taken inside the process that is measured, where it can be helped.
"""
