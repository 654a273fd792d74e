"""The audit trail is append-only, and the database says so. That a user is gone leaves the row."""

from django.db import migrations

from regulars.lib.append_only import guard


class Migration(migrations.Migration):
    dependencies = [("organizations", "0003_tact")]

    operations = [migrations.RunSQL(*guard("audit_events", [("forget", "user_id")]))]
