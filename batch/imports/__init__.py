"""From a file of past transactions to the Delta table `transactions`: every row of the file exactly once."""
