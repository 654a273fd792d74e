"""Any mail server, over SMTP."""
