"""Meta: WhatsApp over the Cloud API (graph.facebook.com)."""
