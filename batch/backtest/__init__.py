"""What rules and models would have done over a labelled history, by the hot path's own fold."""
