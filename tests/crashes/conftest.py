"""The marker of the campaigns (`test_under_fire.py`)."""


def pytest_configure(config):
    config.addinivalue_line("markers", "campaign(name): asks about what happened in this campaign")
