"""Twilio: SMS and WhatsApp over the Messages resource of its 2010-04-01 API."""
