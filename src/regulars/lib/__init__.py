"""What knows no domain noun: the clock, masking, SQL helpers, the HTTP seam, the secret box."""
