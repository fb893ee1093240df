"""Quality control: outlier scores, checks with a verdict, figures, and the report."""
