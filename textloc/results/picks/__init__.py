"""Picks: what one looks at in a result, by name; a module a kind of result.

The page and the report offer the same ones. A pick of a localization is `layer-9`, `set-7_8_9` or
`all`, one of an edit `localized`, `start-05` or the name of a method.
"""
