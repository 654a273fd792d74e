import pytest

from regulars.customers.importing import import_file


@pytest.fixture
def importing(organization, tmp_path, now):
    """Import a text (or bytes) as a file: `importing("customers", text)`."""

    def run(kind, content, *, name="file.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_file(kind, path, organization, **({"now": now} | options))

    return run
