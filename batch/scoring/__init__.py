"""Batch scoring: any period of the lake by any registered model versions, into the table `batch_scores`."""
