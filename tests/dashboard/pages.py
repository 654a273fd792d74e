"""Reading a page as a browser would, with the standard library only."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, response):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(response.content.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def links(self):
        """Whatever the browser would load or go to."""
        names = ("href", "src", "action", "hx-get", "hx-post", "srcset", "poster", "data")
        return [(tag, each[name]) for tag, each in self.tags for name in names if name in each]
