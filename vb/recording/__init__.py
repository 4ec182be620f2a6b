"""Recording: what legs and rooms said, as files and in buckets."""
