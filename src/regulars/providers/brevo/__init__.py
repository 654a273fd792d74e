"""Brevo: e-mail, SMS and WhatsApp."""
