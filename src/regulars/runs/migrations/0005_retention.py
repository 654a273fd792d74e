"""What is left of messages that were removed for their age. See `runs.purging`."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0004_partitions'),
    ]

    operations = [
        migrations.CreateModel(
            name='MessageTotal',
            fields=[
                ('pk', models.CompositePrimaryKey('organization_id', 'automation_id', 'month', 'channel', 'state', 'reason', blank=True, editable=False, primary_key=True, serialize=False)),
                ('organization_id', models.BigIntegerField()),
                ('automation_id', models.UUIDField()),
                ('month', models.DateField()),
                ('channel', models.CharField(max_length=16)),
                ('state', models.CharField(max_length=16)),
                ('reason', models.CharField(max_length=64)),
                ('number', models.BigIntegerField()),
            ],
            options={
                'db_table': 'message_totals',
            },
        ),
        migrations.CreateModel(
            name='PurgedRange',
            fields=[
                ('first_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('below', models.BigIntegerField()),
                ('messages', models.BigIntegerField()),
                ('at', models.DateTimeField()),
            ],
            options={
                'db_table': 'purged_ranges',
            },
        ),
        migrations.AddField(
            model_name='run',
            name='purged_at',
            field=models.DateTimeField(null=True),
        ),
    ]
