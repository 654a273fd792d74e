"""E-mail services through django-anymail."""
