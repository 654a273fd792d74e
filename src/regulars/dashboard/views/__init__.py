"""The views: parse, ask the core, present. They hold no rule."""
