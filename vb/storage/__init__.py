"""Where finished recordings may go besides the local disk: S3 and what speaks its protocol."""
