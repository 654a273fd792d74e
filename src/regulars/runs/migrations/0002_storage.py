"""How the engine's tables are stored, where the ORM has no word for it."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_initial"), ("procrastinate", "0041_post_retry_failed_job")]

    operations = [
        # Frozen verdicts can be chosen again: they need not survive a crash of the server.
        migrations.RunSQL(
            "ALTER TABLE run_verdicts SET UNLOGGED", "ALTER TABLE run_verdicts SET LOGGED"
        ),
    ]
