"""Meta: WhatsApp over the Cloud API."""
