"""A provider that keeps templates and sends nothing."""

from typing import ClassVar

from regulars.automations.template_sync import TemplatesUnavailableError
from regulars.providers.base import Approval, Connection, ListedTemplate, Provider
from regulars.providers.meta.options import MetaOptions

META = {"access_token": "x", "phone_number_id": "1", "business_account_id": "2"}


class Shelf(Provider):
    """A provider that keeps what `listed` says."""

    kind = "meta"
    label = "Shelf"
    channels = ("whatsapp",)
    options = MetaOptions
    lists_templates = True
    tells_places = True
    template_channels = ("whatsapp",)
    listed: ClassVar[list] = []
    fault = ""

    async def connect(self, options, outbox):
        return ShelfConnection(self)


class ShelfConnection(Connection):
    def __init__(self, shelf):
        self.shelf = shelf

    async def send(self, batch):
        raise AssertionError("nothing is sent here")

    async def templates(self):
        if self.shelf.fault:
            raise TemplatesUnavailableError(self.shelf.fault)
        return self.shelf.listed


def listed(**changes):
    values = {
        "reference": "id-1",
        "name": "come_back",
        "language": "es",
        "approval": Approval.APPROVED,
        "category": "marketing",
        "text": "Hola {{1}}, {{venue}} te espera.",
        "placeholders": ("1", "venue"),
    }
    return ListedTemplate(**values | changes)
