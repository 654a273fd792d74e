"""The command line: parse, call one verb, present. Django and the database start only when needed."""

import sys

import click

from regulars import __version__
from regulars.cli.starting import CommandError


class Commands(click.Group):
    """Finds commands in their modules when they are asked for, so that `--help` stays fast."""

    _modules = {
        "demo": "serving",
        "up": "serving",
        "web": "serving",
        "worker": "serving",
        "import": "records",
        "organization": "people",
        "user": "people",
        "token": "people",
        "provider": "callbacks",
        "webhook": "webhooks",
        "automation": "automations",
        "preview": "previewing",
        "run": "automations",
        "doctor": "operations",
        "backup": "backups",
        "restore": "backups",
        "purge": "retention",
        "manage": "operations",
        "test": "checking",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = self._modules.get(cmd_name)
        if module is None:
            return None
        from importlib import import_module

        name = f"{cmd_name}_command" if cmd_name == "import" else cmd_name
        command: click.Command = getattr(import_module(f"regulars.cli.{module}"), name)
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="regulars")
def program() -> None:
    """Regulars turns guests into regulars: marketing automation that restaurants run themselves.

    Start with:  ./regulars demo
    """


def main() -> None:
    """Run the command; an expected problem is one line that says what to do, not a traceback."""
    try:
        program.main(standalone_mode=True, prog_name="regulars")
    except CommandError as problem:
        click.echo(f"regulars: {problem}", err=True)
        sys.exit(1)
