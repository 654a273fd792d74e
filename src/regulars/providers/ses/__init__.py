"""Amazon SES: e-mail over the API of version 2."""
